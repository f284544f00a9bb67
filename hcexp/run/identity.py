"""What names a run: the part of its configuration that has an effect on its result, and the content of its data."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

# What cannot change a run's result. Files, tokenizers and weights count by their content, as fingerprints.
WITHOUT_EFFECT = (
    "choices",
    "paths",
    "tracking",
    "callbacks.progress",
    "callbacks.checkpoint",
    "callbacks.throughput",
    "callbacks.gradients",
    "callbacks.pruning",
    "data.cache",
    "data.files",
    "data.mixture",
    "data.tokenizer",
    "data.verify",
    "data.workers",
    "downstream.batch_size",
    "downstream.tasks",
    "evaluation.batch_size",
    "evaluation.files",
    "evaluation.sets",
    "evaluation.source",
    "init_from",
    "model.activation_checkpointing",
)

# Where a run is computed: part of its name, since it changes a result's last digits, but a run may go on elsewhere.
WHERE = (
    "trainer.accelerator",
    "trainer.accumulate_grad_batches",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
)


def load_config(path: Path) -> DictConfig:
    """The configuration that a run has recorded; raises ValueError, in one line, if it is damaged."""
    try:
        config = OmegaConf.load(path)
        if not isinstance(config, DictConfig) or "residual" not in config:
            raise ValueError("it is no configuration of a run")
        return config
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def effective(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration, less what cannot change a result."""
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for knob in WITHOUT_EFFECT:
        section, _, key = knob.rpartition(".")
        (resolved.get(section, {}) if section else resolved).pop(key, None)
    return resolved


def where(config: DictConfig) -> dict[str, Any]:
    """The knobs that say where a run is computed, by their dotted names."""
    resolved = OmegaConf.to_container(config, resolve=True)
    return {f"trainer.{knob}": value for knob, value in resolved["trainer"].items() if f"trainer.{knob}" in WHERE}


def elsewhere(knob: str) -> bool:
    """Whether a knob, by its dotted name, only says where a run is computed."""
    return any(f"{knob}.".startswith(f"{name}.") for name in WHERE)


def hashed(content: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that name it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, str]:
    """`recorded → asked` of every knob that differs, by its dotted name; – stands for a knob that is not there."""
    one, other = flat(recorded), flat(asked)
    return {
        knob: f"{one.get(knob, '–')} → {other.get(knob, '–')}"
        for knob in sorted({*one, *other})
        if knob not in one or knob not in other or one[knob] != other[knob]
    }


def listed(changed: Mapping[str, str]) -> str:
    """Differences in one line."""
    return "; ".join(f"{knob}: {change}" for knob, change in changed.items())


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob by its dotted name: `{"model": {"d": 128}}` as `{"model.d": 128}`."""
    return dict(_flatten(config))


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
