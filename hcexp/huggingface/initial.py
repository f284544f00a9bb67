"""The weights of an OLMo of `transformers`, to start training from."""

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, model_info, snapshot_download

from hcexp.disk.checksum import checksum
from hcexp.huggingface.olmo import BUILT_IN, KEYS, stacked_names
from hcexp.huggingface.weight_files import INDEX, SHARDS, SINGLE, WeightFiles
from hcexp.model import LanguageModel
from hcexp.model.sharding import copy_full

# Keys of config.json that change the function, and the values under which it is the function of our network.
ONLY = {"hidden_act": "silu", "attention_bias": False, "clip_qkv": None}


class OlmoWeights:
    """A checkpoint of `OlmoForCausalLM`, as safetensors; nothing is unpickled and no code of it runs.

    Called with a model it puts its weights in the place of the model's; what the residual mode adds keeps its own.
    From the hub only its `config.json` is taken at first, and the weights with `fetch`, once, of the same commit.

    Args:
        source: its folder, or its name on the hub.
        knobs: the resolved section `model` of the configuration.
        model: the network that these and the residual mode make, on any device; it has to fit.

    Raises:
        FileNotFoundError: no such folder, or no safetensors in it.
        ConnectionError: the hub cannot be reached, or has no such model.
        ValueError: not an OLMo, one that does what our network does not, or one of other sizes.
    """

    def __init__(self, source: str, knobs: Mapping, model: LanguageModel):
        self.source = str(source)
        self.local = _is_local(self.source)
        if self.local:
            self.folder = Path(self.source).expanduser()
        else:  # that of a commit in the hub's cache
            self.folder = Path(self._hub(hf_hub_download, "config.json")).parent
        self.config = self._read_config()
        self._check_knobs(knobs)
        self.names = stacked_names(len(model.blocks), model.unembedding is None)
        self.shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        if self.local:
            self.fetch()

    def fetch(self) -> None:
        """Download the weights, if they are on the hub, and check that they fit; raises as the class does."""
        _ = self.files

    @cached_property
    def files(self) -> WeightFiles:
        """The files, the shapes in them checked."""
        folder = self.folder
        if not self.local:
            wanted = ["config.json", SINGLE, INDEX, SHARDS]
            folder = Path(self._hub(snapshot_download, revision=folder.name, allow_patterns=wanted))
        files = WeightFiles(folder)
        self._check_shapes(files.shapes)
        return files

    @cached_property
    def checksum(self) -> str:
        """Of the weights' files, wherever they lie; the hub's is what it says of them, without a download."""
        try:
            hashes = None if self.local else _told_by_hub(self.source, self.folder.name)
        except Exception:  # it cannot be reached: what was downloaded before tells it too
            hashes = None
        return checksum(*hashes) if hashes else self.files.checksum

    def _hub(self, download: Callable[..., str], *arguments: str, **keywords: Any) -> str:
        try:
            return download(self.source, *arguments, **keywords)
        except Exception as error:  # of many kinds, from the hub's client and below it
            line = " ".join(str(error).split())[:300] or type(error).__name__
            raise ConnectionError(f"init_from={self.source} is no folder, nor on the hub: {line}") from error

    def __call__(self, model: LanguageModel) -> None:
        parameters = dict(model.named_parameters())
        with self.files.opened() as read:
            for ours, names in self.names.items():
                copy_full(parameters[ours], torch.cat([read(name) for name in names]))

    def _read_config(self) -> dict:
        path = self.folder / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"init_from={self.source} has no config.json")
        try:
            config = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"init_from={self.source}: its config.json is damaged ({error})") from None
        if config.get("model_type") != "olmo":
            raise ValueError(f"init_from={self.source} has model_type={config.get('model_type')}: it must be olmo")
        if absent := [key for key in (*KEYS.values(), "vocab_size") if key not in config]:
            raise ValueError(f"init_from={self.source}: its config.json has no {absent[0]}")
        heads = config["num_attention_heads"]
        only = {**ONLY, "num_key_value_heads": heads, "head_dim": config["hidden_size"] // heads}
        for key, value in only.items():
            if config.get(key) not in (value, None):
                raise ValueError(
                    f"init_from={self.source} has {key}={config[key]}, which the network here has not: "
                    f"allowed is {key}={value}"
                )
        return config

    def _check_knobs(self, knobs: Mapping) -> None:
        theirs = {knob: self.config[key] for knob, key in KEYS.items()} | BUILT_IN | {"rope_theta": self._rope_theta()}
        del theirs["norm_affine"]  # weights of norms start at one, which changes nothing
        for knob, value in theirs.items():
            if knobs.get(knob, value) != value:
                raise ValueError(
                    f"model.{knob}={knobs[knob]}, but init_from={self.source} has {value}: set model.{knob}={value}"
                )
        rows, size, multiple = self.config["vocab_size"], knobs["vocabulary_size"], knobs["pad_vocabulary_to"]
        padded = _padded(size, multiple)
        if padded != rows:
            fitting = [k for k in (1, 64, 128, 256, 512, rows) if _padded(size, k) == rows]
            raise ValueError(
                f"model.vocabulary_size={size}, which model.pad_vocabulary_to={multiple} pads to {padded}, but "
                f"init_from={self.source} has {rows} rows: "
                + (f"set model.pad_vocabulary_to={fitting[0]}" if fitting else "it has too few")
            )

    def _rope_theta(self) -> float:
        # As transformers writes it since its version 5, and before.
        rope = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        if (kind := rope.get("rope_type", rope.get("type", "default"))) != "default":
            raise ValueError(f"init_from={self.source} has rope_type={kind}: it must be default")
        return rope.get("rope_theta", self.config.get("rope_theta", 10000.0))

    def _check_shapes(self, theirs: Mapping[str, tuple[int, ...]]) -> None:
        for ours, names in self.names.items():
            if absent := [name for name in names if name not in theirs]:
                raise ValueError(f"init_from={self.source} has no weight {absent[0]}")
            rows, *rest = zip(*(theirs[name] for name in names), strict=True)
            shape = (sum(rows), *(sizes[0] for sizes in rest))
            if shape != self.shapes[ours]:
                raise ValueError(
                    f"init_from={self.source} has {names[0].rpartition('.')[0]} of shape {shape}, where the network "
                    f"with this residual mode has {self.shapes[ours]}"
                )


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _is_local(source: str) -> bool:
    path = Path(source).expanduser()
    if not path.is_dir() and (path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1):
        raise FileNotFoundError(f"init_from={source}: there is no such folder")
    return path.is_dir()


def _told_by_hub(source: str, commit: str) -> list[str] | None:
    """sha256 of every file of the weights in a commit, in the order of their names; None if it does not tell them."""
    files = {file.rfilename: file.lfs for file in model_info(source, revision=commit, files_metadata=True).siblings}
    names = [SINGLE] if SINGLE in files else sorted(name for name in files if fnmatch(name, SHARDS))
    return [files[name].sha256 for name in names] if all(files[name] for name in names) else None
