"""What names a run: the part of its configuration that has an effect on its result, and the content of its data."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from omegaconf import DictConfig, OmegaConf

# What cannot change a run's result. Files, tokenizers and weights count by their content, as fingerprints.
WITHOUT_EFFECT = (
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

# Whose class is said by the name of their choice: an address changes when code is moved. What `data`, `evaluation` and
# `downstream` give is named by their fingerprints.
CHOSEN = ("residual", "model", "model/feed_forward", "objective", "optimizer", "schedule")

# Hydra's own keys.
CALLS = ("_target_", "_partial_", "_convert_", "_recursive_")

# A knob that the code gained after runs had been named, with the value at which everything is as before: there it does
# not count. `{"model.bias": False}` keeps the names of all runs from before there was such a knob.
NEUTRAL: dict[str, Any] = {}

# Where a run is computed: part of its name, since it changes a result's last digits, but a run may go on elsewhere.
PLACEMENT = (
    "choices.trainer",
    "trainer.accelerator",
    "trainer.accumulate_grad_batches",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
)


def effective(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration, less what cannot change a result, with choices in the place of classes.

    A class that no choice names, because an override gave its `_target_`, counts by its address (see `compose`).
    """
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    choices = resolved.pop("choices")
    for knob in WITHOUT_EFFECT:
        section, _, key = knob.rpartition(".")
        (resolved.get(section, {}) if section else resolved).pop(key, None)
    named = {group: choices[group] for group in CHOSEN if group in choices}
    named |= {knob: target for knob, target in choices.items() if "." in knob and not _is_within(knob, WITHOUT_EFFECT)}
    if isinstance(resolved["trainer"]["strategy"], Mapping):  # a strategy of our own
        named["trainer"] = choices["trainer"]
    return _without_neutral(_without_calls(resolved)) | {"choices": named}


def _is_within(knob: str, names: Iterable[str]) -> bool:
    return any(f"{knob}.".startswith(f"{name}.") for name in names)


def _without_calls(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_calls(value) for key, value in content.items() if key not in CALLS}
    return [_without_calls(value) for value in content] if isinstance(content, list) else content


def _without_neutral(content: dict[str, Any]) -> dict[str, Any]:
    for knob, neutral in NEUTRAL.items():
        *sections, key = knob.split(".")
        section = reduce(lambda within, name: within.get(name) or {}, sections, content)
        if key in section and section[key] == neutral:
            del section[key]
    return content


def placement(config: DictConfig) -> dict[str, Any]:
    """The knobs that say where a run is computed, by their dotted names."""
    resolved = OmegaConf.to_container(config, resolve=True)
    return {f"trainer.{knob}": value for knob, value in resolved["trainer"].items() if f"trainer.{knob}" in PLACEMENT}


def is_placement(knob: str) -> bool:
    """Whether a knob, by its dotted name, only says where a run is computed."""
    return _is_within(knob, PLACEMENT)


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
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{knob}": inner for knob, inner in flat(value).items()}
        else:
            found[str(key)] = value
    return found
