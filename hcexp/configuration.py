"""The configuration of a run, composed from `conf/` and a person's overrides, and the network that it describes."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

import hcexp

if TYPE_CHECKING:
    import torch

# Whole numbers that may be null, whichever of the two is the default.
OPTIONAL = (
    "data.max_tokens",
    "downstream.documents",
    "evaluation.documents",
    "evaluation.every",
    "evaluation.max_tokens",
)


def shipped(name: str) -> Path:
    """The folder `conf` or `sweeps`: in the installed package, or beside it in a checkout."""
    package = Path(hcexp.__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of one run, from the defaults in `conf/` and Hydra overrides; `choices` says what was chosen.

    `hydra.searchpath=[pkg://…]` adds choices of one's own. Raises Hydra's and OmegaConf's exceptions for unknown
    choices and knobs, and ValueError for a value of the wrong kind.
    """
    conf = shipped("conf")
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, run_mode=RunMode.RUN, from_shell=False)
    chosen = [o for o in parsed if o.key_or_group.startswith("hydra") or (conf / o.key_or_group).is_dir()]
    words = tuple(o.input_line for o in chosen)
    own = any(o.key_or_group.startswith("hydra") for o in chosen)  # choices from elsewhere, which may change
    defaults = (_composed.__wrapped__ if own else _composed)(conf, words)
    config = deepcopy(defaults)
    ConfigLoaderImpl._apply_overrides_to_config([o for o in parsed if o not in chosen], config)
    for override in parsed:
        _check_kind(config, defaults, override.key_or_group)
        _as_float(config, defaults, override.key_or_group)
    with open_dict(config):
        config.choices.update(_own_targets(config, defaults))
        config.paths = {name: str(Path(path).expanduser()) for name, path in config.paths.items()}
    return config


@cache
def _composed(conf: Path, choices: tuple[str, ...]) -> DictConfig:
    """What the choices alone make; it is only read, and kept, since composing takes a fifth of a second."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = hydra_compose("train", list(choices), return_hydra_config=True)
    with open_dict(config):
        hydra = config.pop("hydra")
        config.choices = {k: v for k, v in hydra.runtime.choices.items() if not k.startswith("hydra/")}
    return config


def _own_targets(config: DictConfig, defaults: DictConfig, prefix: str = "") -> dict[str, str]:
    """The `_target_`s that overrides gave, and no choice, by their dotted names."""
    found = {}
    for key, value in config.items_ex(resolve=False):
        name, before = f"{prefix}{key}", defaults.get(key) if isinstance(defaults, DictConfig) else None
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_missing():
            found |= _own_targets(value, before, f"{name}.")
        elif key == "_target_" and value != before:
            found[name] = value
    return found


def _check_kind(config: DictConfig, defaults: DictConfig, knob: str) -> None:
    """Numbers and switches stay what they are by default; the Trainer's are left to Lightning."""
    default = OmegaConf.select(defaults, knob, throw_on_missing=False)
    value = OmegaConf.select(config, knob, throw_on_missing=False)
    if knob in OPTIONAL:
        if value is not None and type(value) is not int:
            raise ValueError(f"{knob}={value} is not allowed: it must be a whole number, or null")
        return
    kinds = {bool: "true or false", int: "a whole number", float: "a number"}
    if type(default) not in kinds or knob.startswith("trainer."):
        return
    if type(value) is not type(default) and (type(value), type(default)) != (int, float):
        given = "null" if value is None else value
        raise ValueError(f"{knob}={given} is not allowed: it must be {kinds[type(default)]}, such as {default}")


def _as_float(config: DictConfig, defaults: DictConfig, knob: str) -> None:
    """`0` is `0.0` where the default is: one configuration has one name, however its numbers are written."""
    default = OmegaConf.select(defaults, knob, throw_on_missing=False)
    value = OmegaConf.select(config, knob, throw_on_missing=False)
    if type(default) is float and type(value) is int:
        OmegaConf.update(config, knob, float(value))


def shareable(overrides: Sequence[str]) -> list[str]:
    """The overrides without the tracking server's address, which may hold a password and has no effect on a result."""
    return [override for override in overrides if not override.lstrip("+").startswith("tracking.uri=")]


def build_model(config: DictConfig) -> "torch.nn.Module":
    """The network of a configuration, on the meta device: no memory, no weights yet."""
    import torch  # seconds, that whoever only composes can do without

    with torch.device("meta"):
        return instantiate(config.model, residual=instantiate(config.residual))
