"""The weights of an OLMo of `transformers`, to start training from."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import snapshot_download

from hcexp.huggingface.olmo import BUILT_IN, KEYS, stacked_names
from hcexp.huggingface.weight_files import INDEX, SHARDS, SINGLE, WeightFiles
from hcexp.model import LanguageModel
from hcexp.model.sharding import assign

# Keys of config.json that change the function, and the values under which it is the function of our network.
ONLY = {"hidden_act": "silu", "attention_bias": False, "clip_qkv": None}


class OlmoWeights:
    """A checkpoint of `OlmoForCausalLM`, as safetensors; nothing is unpickled and no code of it runs.

    Called with a model it puts its weights in the place of the model's; what the residual mode adds keeps its own.

    Args:
        source: its folder, or its name on the hub, from where it is downloaded once.
        knobs: the resolved section `model` of the configuration.
        model: the network that these and the residual mode make, on any device; it has to fit.

    Raises:
        FileNotFoundError: no such folder, or no safetensors in it.
        ConnectionError: the hub cannot be reached, or has no such model.
        ValueError: not an OLMo, one that does what our network does not, or one of other sizes.
    """

    def __init__(self, source: str, knobs: Mapping, model: LanguageModel):
        self.source = str(source)
        folder = _folder(self.source)
        self.config = self._read_config(folder)
        self._check_knobs(knobs)
        self.files = WeightFiles(folder)
        self.names = stacked_names(len(model.blocks), model.unembedding is None)
        self._check_shapes(model)

    @property
    def checksum(self) -> str:
        """Of the weights' files, wherever they lie."""
        return self.files.checksum

    def __call__(self, model: LanguageModel) -> None:
        parameters = dict(model.named_parameters())
        with self.files.opened() as read:
            for ours, names in self.names.items():
                assign(parameters[ours], torch.cat([read(name) for name in names]))

    def _read_config(self, folder: Path) -> dict:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"init_from={self.source} has no config.json")
        try:
            config = json.loads((folder / "config.json").read_text())
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

    def _check_shapes(self, model: LanguageModel) -> None:
        parameters = dict(model.named_parameters())
        for ours, names in self.names.items():
            if absent := [name for name in names if name not in self.files.shapes]:
                raise ValueError(f"init_from={self.source} has no weight {absent[0]}")
            rows, *rest = zip(*(self.files.shapes[name] for name in names), strict=True)
            shape = (sum(rows), *(sizes[0] for sizes in rest))
            if shape != parameters[ours].shape:
                raise ValueError(
                    f"init_from={self.source} has {names[0].rpartition('.')[0]} of shape {shape}, where the network "
                    f"with this residual mode has {tuple(parameters[ours].shape)}"
                )


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _folder(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1:
        raise FileNotFoundError(f"init_from={source}: there is no such folder")
    try:
        return Path(snapshot_download(source, allow_patterns=["config.json", SINGLE, INDEX, SHARDS]))
    except Exception as error:  # of many kinds, from the hub's client and below it
        line = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConnectionError(f"init_from={source} is no folder, nor on the hub: {line}") from error
