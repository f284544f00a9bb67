"""A checkpoint of a run, and what can be built of it: the network with its weights, the tokenizer."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from hcexp.callbacks import damage, latest
from hcexp.configuration import build_model
from hcexp.data import TextTokenizer
from hcexp.run.folder import CHECKPOINTS, RunFolder


class Loaded(NamedTuple):
    """A run as Python has it: its network in evaluation mode, its tokenizer if it has one, its configuration."""

    model: nn.Module
    tokenizer: TextTokenizer | None
    configuration: DictConfig


@dataclass(frozen=True)
class Checkpoint:
    """A run's resolved configuration, its network's weights by name, and the optimiser step that they are of."""

    config: DictConfig
    weights: dict[str, Tensor]
    step: int

    def checksum(self) -> str:
        """sha256 of the weights, in hex: of their names, kinds, shapes and bytes."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.weights.items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
            digest.update(weight.contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def model(self) -> nn.Module:
        """The network with its weights, on the CPU; raises ValueError if the weights are of another one."""
        model = build_model(self.config)
        try:
            model.load_state_dict(self.weights, assign=True)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise ValueError(f"the checkpoint is of another network than the run recorded: {reason}") from error
        return model


def read_checkpoint(run: Path, checkpoint: Path | None = None) -> Checkpoint:
    """Read the folder of a run; without `checkpoint`, its newest one that is whole: a file, or a folder of shards.

    Raises FileNotFoundError if one of the two is not there, and ValueError for a checkpoint that is damaged, or none.
    Nothing that is in it is run.
    """
    config = RunFolder(run).configuration
    path = checkpoint or latest(run / CHECKPOINTS)
    if path is None:
        raise FileNotFoundError(f"{run} has no checkpoint: train it first")
    if not path.exists():
        raise FileNotFoundError(f"--checkpoint={path}: there is no such file")
    if checkpoint and (what := damage(checkpoint)):  # the newest is the newest that is whole
        raise ValueError(f"{path} is no checkpoint, or a damaged one: it {what}")
    if path.is_dir():
        from hcexp.callbacks.shards import LAST, read_weights  # takes a while, and few runs have shards

        content = torch.load(path / LAST, map_location="cpu", weights_only=True) | {"state_dict": read_weights(path)}
    else:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(content, dict) or not content.keys() >= {"state_dict", "global_step"}:
        raise ValueError(f"{path} is no checkpoint of a run: it has no state_dict and global_step")
    state = content["state_dict"].items()
    weights = {name.removeprefix("model."): weight for name, weight in state if name.startswith("model.")}
    return Checkpoint(config, weights, content["global_step"])


def tokenizer_of(config: DictConfig) -> TextTokenizer:
    """The tokenizer that a run's configuration names; raises ValueError if it trained no language model."""
    data = config.data
    if "tokenizer" not in data:
        raise ValueError(f"model={config.choices.model} is no language model: there is no tokenizer")
    return TextTokenizer(data.tokenizer, data.eos, data.vocabulary_size)
