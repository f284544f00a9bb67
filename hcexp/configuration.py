"""The configuration of a run, composed from `conf/` and a person's overrides, and the network that it describes."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import _locate
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import Container, DictConfig, OmegaConf, open_dict

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
    "schedule.warmup",
)
KINDS = {bool: "true or false", int: "a whole number", float: "a number"}

# Packages whose classes a configuration may name; of these rooms, which run what a text names, it may not.
OWN = ("hcexp.", "lightning.pytorch.")
UNSAFE = ("hcexp.evaluation.harness.", "lightning.pytorch.cli.")
TRUST = "HCEXP_TRUST"  # the variable with the packages that a person trusts besides, with commas


def shipped(name: str) -> Path:
    """The folder `conf` or `sweeps`: in the installed package, or beside it in a checkout."""
    package = Path(hcexp.__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def parse(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """The overrides as Hydra reads them; a loader says what a `glob` matches.

    Raises Hydra's exception for what is no override, and ValueError for one that is nested too deep to be read.
    """
    parser, parsed = OverridesParser.create(loader), []
    for override in overrides:
        try:
            parsed += parser.parse_overrides([override])
        except RecursionError:
            raise ValueError(f"{override[:40]}… is nested too deep") from None
    return parsed


def values(override: Override) -> list[str]:
    """The override as it is, or each of those that it lists."""
    if not override.is_sweep_override():
        return [override.input_line]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def nearest(name: str, names: Iterable[str], also: Mapping[str, str] | None = None) -> str:
    """`, did you mean …` with the names that are most like `name`; nothing if none is.

    `also` gives other spellings: from each, the name that it stands for.
    """
    plain = {_letters(known): known for known in names}
    plain |= {_letters(alias): known for alias, known in (also or {}).items()}
    close = [_letters(name)] if _letters(name) in plain else get_close_matches(_letters(name), plain, n=3, cutoff=0.5)
    found = dict.fromkeys(plain[match] for match in close)
    return f", did you mean {' or '.join(found)}" if found else ""


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of one run, from the defaults in `conf/` and Hydra overrides; `choices` says what was chosen.

    `hydra.searchpath=[pkg://…]` adds choices of one's own. Raises Hydra's and OmegaConf's exceptions for unknown
    choices and knobs, and ValueError for a value of the wrong kind or a class of a package that nobody has trusted.
    """
    conf = shipped("conf")
    parsed = parse(overrides)
    ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, run_mode=RunMode.RUN, from_shell=False)
    for package in _searched(parsed):
        _require_package(package)
    chosen = [o for o in parsed if o.key_or_group.startswith("hydra") or (conf / o.key_or_group).is_dir()]
    words = tuple(o.input_line for o in chosen)
    own = any(o.key_or_group.startswith("hydra") for o in chosen)  # choices from elsewhere, which may change
    defaults = (_composed.__wrapped__ if own else _composed)(conf, words)
    config = deepcopy(defaults)
    ConfigLoaderImpl._apply_overrides_to_config([o for o in parsed if o not in chosen], config)
    for override in parsed:
        _keep_kind(config, defaults, override.key_or_group)
    require_trusted(config)
    with open_dict(config):
        config.choices.update(_own_targets(config, defaults))
        config.paths = {name: str(Path(path).expanduser()) for name, path in config.paths.items()}
    return config


@cache
def _composed(conf: Path, choices: tuple[str, ...]) -> DictConfig:
    """The configuration that choices alone make; it is only read, and kept: composing takes a fifth of a second."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = hydra_compose("train", list(choices), return_hydra_config=True)
    with open_dict(config):
        hydra = config.pop("hydra")
        config.choices = {k: v for k, v in hydra.runtime.choices.items() if not k.startswith("hydra/")}
    return config


def _own_targets(config: DictConfig, defaults: DictConfig) -> dict[str, str]:
    """The `_target_`s that overrides gave, and no choice, by their dotted names."""
    before = dict(_targets(defaults))
    return {knob: target for knob, target in _targets(config) if target != before.get(knob)}


def _keep_kind(config: DictConfig, defaults: DictConfig, knob: str) -> None:
    """Check that a number or switch stays what it is by default; the Trainer's are left to Lightning.

    `0` becomes `0.0` where the default is: one configuration has one name, however its numbers are written.
    """
    default = OmegaConf.select(defaults, knob, throw_on_missing=False)
    value = OmegaConf.select(config, knob, throw_on_missing=False)
    whole = type(default) is float and type(value) is int
    if knob in OPTIONAL:
        if value is not None and type(value) is not int:
            raise ValueError(f"{knob}={value} is not allowed: it must be a whole number, or null")
    elif type(default) in KINDS and not knob.startswith("trainer.") and type(value) is not type(default) and not whole:
        given = "null" if value is None else value
        raise ValueError(f"{knob}={given} is not allowed: it must be {KINDS[type(default)]}, such as {default}")
    if whole:
        OmegaConf.update(config, knob, float(value))


def instantiate(section: DictConfig | Mapping, **given: Any) -> Any:
    """Build what a section of a configuration describes; `given` goes to its constructor.

    A configuration may come from anybody, and a `_target_` may be anything that Python can call. So only classes of
    this package, of Lightning and of the packages in HCEXP_TRUST are called, and of the latter functions too; and only
    what is defined there: `hcexp.run.folder.json.loads` is not.

    Raises ValueError, naming the knob, for anything else, and what Hydra and the constructors raise.
    """
    section = (
        section if isinstance(section, Container) else OmegaConf.create(dict(section), flags={"allow_objects": True})
    )
    require_trusted(section, follow=True)
    for knob, target in _targets(section, follow=True):
        try:
            found = _locate(target)
        except Exception:  # Hydra is about to meet it, and says it in its own way
            continue
        place = f"{getattr(found, '__module__', None)}."
        own = isinstance(found, type) and place.startswith(OWN) and not place.startswith(UNSAFE)
        if not own and not (isinstance(found, type | FunctionType) and place.startswith(_trusted())):
            raise ValueError(f"{knob}={target} is not allowed: it is not a class of {_listed()}")
    return hydra_instantiate(section, **given)


def require_trusted(config: Container, where: str = "", *, follow: bool = False) -> None:
    """Raise ValueError for a `_target_` in a package that nobody has trusted; `where` comes before the knob."""
    for knob, target in _targets(config, follow=follow):
        if not str(target).startswith((*OWN, *_trusted())):
            raise ValueError(f"{where}{knob}={target} is not allowed: only classes of {_listed()} are{_hint(target)}")


@contextmanager
def trusting(arguments: Sequence[str]) -> Iterator[None]:
    """Trust the packages that a person's own command line names in `hydra.searchpath`, here and in child processes."""
    before = os.environ.get(TRUST)
    named = _searched(parse([word for word in arguments if word.lstrip("+").startswith("hydra.searchpath=")]))
    os.environ[TRUST] = ",".join([*filter(None, [before]), *(name.partition(".")[0] for name in named)])
    try:
        yield
    finally:
        os.environ.pop(TRUST)
        if before is not None:
            os.environ[TRUST] = before


def _trusted() -> tuple[str, ...]:
    return tuple(f"{name.strip()}." for name in os.environ.get(TRUST, "").split(",") if name.strip())


def _listed() -> str:
    return " and ".join(name.removesuffix(".") for name in (*OWN, *_trusted()))


def _hint(target: str) -> str:
    package = str(target).partition(".")[0]
    if package in sys.stdlib_module_names or not package.isidentifier():
        return ""
    return f"; if you trust all code of {package}, write {TRUST}={package} before the command"


def _searched(parsed: Sequence[Override]) -> list[str]:
    """The packages that `hydra.searchpath` names."""
    paths = [path for o in parsed if o.key_or_group == "hydra.searchpath" for path in _as_list(o.value())]
    return [str(path).removeprefix("pkg://").replace("/", ".") for path in paths if str(path).startswith("pkg://")]


def _as_list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _require_package(package: str) -> None:
    """Raise ValueError for a package of choices that nobody has trusted, or that cannot be imported."""
    top = package.partition(".")[0]
    if not f"{top}.".startswith((*OWN, *_trusted())):
        raise ValueError(f"hydra.searchpath=[pkg://{package}] is not allowed here{_hint(package)}")
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None and find_spec(top) is not None:
        raise ValueError(f"hydra.searchpath=[pkg://{package}]: {top} has no such folder")
    if spec is None:
        raise ValueError(f"{top} is not importable: install it, or set PYTHONPATH to the folder that it is in")
    if spec.origin is None:
        raise ValueError(f"hydra.searchpath=[pkg://{package}]: the folder {package} needs a file __init__.py, empty")


def _targets(node: Container, *, follow: bool = False) -> Iterator[tuple[str, Any]]:
    """Every `_target_` in a configuration, resolved, by its dotted name; `follow` also those that `${…}` brings in."""
    content = node._content
    if not isinstance(content, dict | list):  # null, or missing
        return
    for key, child in content.items() if isinstance(content, dict) else enumerate(content):
        if (follow or key == "_target_") and child._is_interpolation():
            child = child._maybe_dereference_node()
        if key == "_target_":
            yield node._get_full_key(key), child and child._value()
        elif isinstance(child, Container):
            yield from _targets(child, follow=follow)


def shareable(overrides: Sequence[str]) -> list[str]:
    """The overrides without the tracking server's address, which may hold a password and has no effect on a result."""
    return [override for override in overrides if not override.lstrip("+").startswith("tracking.uri=")]


def build_model(config: DictConfig) -> "torch.nn.Module":
    """The network of a configuration, on the meta device: no memory, no weights yet."""
    import torch  # seconds, that whoever only composes can do without

    with torch.device("meta"):
        return instantiate(config.model, residual=instantiate(config.residual))
