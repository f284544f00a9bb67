"""What a run left: its configuration, the weights of a checkpoint, and what can be built of these."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from hcexp.callbacks import damage, latest
from hcexp.configuration import build_model
from hcexp.data import TextTokenizer
from hcexp.run.identity import load_config


class Trained(NamedTuple):
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


def load_trained(run: Path, checkpoint: Path | None = None) -> Trained:
    """Read the folder of a run; without `checkpoint`, its newest one.

    Raises FileNotFoundError if one of the two is not there, and ValueError for a checkpoint in shards, or a file that
    is none.
    """
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"{run} is not the folder of a run: it has no config.yaml")
    path = checkpoint or latest(run / "checkpoints")
    if path is None:
        raise FileNotFoundError(f"{run} has no checkpoint: train it first")
    if path.is_dir():
        raise ValueError(
            f"{path} is in shards: join them with `python -m lightning.pytorch.utilities.consolidate_checkpoint "
            f"{path}`, and name that file as the checkpoint"
        )
    if not path.is_file():
        raise FileNotFoundError(f"--checkpoint={path}: there is no such file")
    if checkpoint and (what := damage(checkpoint)):  # the newest is the newest that is whole
        raise ValueError(f"{path} is no checkpoint, or a damaged one: it {what}")
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(content, dict) or not content.keys() >= {"state_dict", "global_step"}:
        raise ValueError(f"{path} is no checkpoint of a run: it has no state_dict and global_step")
    weights = {
        name.removeprefix("model."): weight
        for name, weight in content["state_dict"].items()
        if name.startswith("model.")
    }
    return Trained(load_config(run / "config.yaml"), weights, content["global_step"])


def tokenizer_of(config: DictConfig) -> TextTokenizer:
    """The tokenizer that a run's configuration names; raises ValueError if it trained no language model."""
    data = config.data
    if "tokenizer" not in data:
        raise ValueError(f"model={config.choices.model} is no language model: there is no tokenizer")
    return TextTokenizer(data.tokenizer, data.eos, data.vocabulary_size)


def network_of(trained: Trained) -> nn.Module:
    """The network with its weights, on the CPU; raises ValueError if the weights are of another one."""
    model = build_model(trained.config)
    try:
        model.load_state_dict(trained.weights, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ValueError(f"the checkpoint is of another network than the run recorded: {reason}") from error
    return model
