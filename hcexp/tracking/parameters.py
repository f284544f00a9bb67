"""A configuration as MLflow parameters and tags."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST = 250  # characters MLflow keeps of a parameter's value
SKIPPED = {"hydra", "paths", "tracking"}  # top-level sections that say where a run is, not what it is

# What most comparisons are about, by the names of the knobs.
HEADLINE = (
    "residual",
    "residual.n",
    "residual.tanh",
    "scale",
    "model",
    "data",
    "seed",
    "steps",
    "optimizer.lr",
    "data.batch_size",
    "data.sequence_length",
    "trainer.precision",
    "init_from",
)


def headline_params(config: Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, str]:
    """The few parameters by which runs are told apart: the residual mode, the scale, the seed, what is varied most, and
    whatever the overrides name. A choice such as `residual` stands for the section of its name.

    All others are in the run's config.yaml: a page that compares runs by a hundred parameters shows none.
    """
    every = parameters(config) | config["choices"]
    named = {override.lstrip("+~").partition("=")[0] for override in overrides}
    return {name: value for name, value in every.items() if name in (*HEADLINE, *named)}


def labels(config: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a run: its residual mode, expansion rate n and tanh where the mode has them, scale and seed."""
    choices, knobs = config["choices"], config["residual"]
    values = {"mode": choices["residual"], "n": knobs.get("n"), "tanh": knobs.get("tanh")}
    values |= {"scale": choices["scale"], "seed": config["seed"]}
    return {name: str(value) for name, value in values.items() if value is not None}


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a resolved configuration: `{"model": {"d": 128}}` gives `{"model.d": "128"}`.

    Left out: keys that begin with an underscore (`_target_`), values that are places (paths), the sections `hydra`,
    `paths` and `tracking`, and what is not set. A value of more than 250 characters is cut, with `…` at its end.
    """
    flat = _flat({key: value for key, value in config.items() if key not in SKIPPED})
    return {name: text if len(text) <= LONGEST else text[: LONGEST - 1] + "…" for name, text in flat.items()}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        is_place = isinstance(value, Path) or (isinstance(value, str) and value.startswith(("/", "~", "./", "../")))
        if str(key).startswith("_") or value is None or is_place:
            continue
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found
