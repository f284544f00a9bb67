"""Errors that a person can mend, in one line each."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

# What the project raises on purpose, with a line that names the knob, the value and what is allowed.
MENDABLE = (ValueError, OSError, ArithmeticError, HydraException, OmegaConfBaseException)


def explain(error: BaseException, arguments: Sequence[str]) -> str | None:
    """The error in one line, or None if it is not one that its reader can mend, but a fault of the program."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={name} is not known{nearest(name, error.options)}; choose from {', '.join(error.options)}"
    if isinstance(error, ConfigCompositionException) and (match := re.match(r"Could not override '(.+?)'", str(error))):
        knob = match[1]
        return f"{knob} is not a knob here{nearest(knob, _knobs(arguments))}; --config shows all of them"
    if isinstance(error, OverrideParseException):
        return f"{error.override} is not an override: write knob=value, in quotes if the value has spaces or commas"
    if isinstance(error, MissingMandatoryValue):
        knob = error.full_key or str(error).rpartition(" ")[2]
        return f"{knob} must be given: add {knob}=…"
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        if isinstance(error.__cause__, TypeError):  # a knob added with + that the target does not know
            return _first_line(error.__cause__)
        line = explain(error.__cause__, arguments)
        section = re.search(r"full_key: (\S+)", str(error))
        # What is built in several sections, such as a source of text, cannot know which one it is in.
        return f"{section[1]}.{line}" if section and line and re.match(r"\w+=", line) else line
    lightnings = type(error).__name__ == "MisconfigurationException"  # slow to import
    return _first_line(error) if lightnings or isinstance(error, MENDABLE) else None


def nearest(name: str, names: Iterable[str]) -> str:
    """`, did you mean …` with the names that are most like `name`; nothing if none is."""
    plain = {re.sub(r"[\W_]", "", known).lower(): known for known in names}
    close = get_close_matches(re.sub(r"[\W_]", "", name).lower(), plain, n=3, cutoff=0.5)
    return f", did you mean {' or '.join(plain[match] for match in close)}" if close else ""


def _knobs(arguments: Sequence[str]) -> list[str]:
    """Every knob of the configuration that the choices among `arguments` give; of the default one if they give none."""
    from hcexp.run import compose, shipped

    choices = [a for a in arguments if "=" in a and (shipped("conf") / a.partition("=")[0].lstrip("+")).is_dir()]
    try:
        config = compose(choices)
    except Exception:  # one of the choices is at fault too
        config = compose()
    return [*config.choices, *(knob for knob in _flatten(config) if not knob.startswith("choices."))]


def _flatten(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        name = f"{prefix}{key}"
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _flatten(child, f"{name}.")
        elif not str(key).startswith("_"):
            yield name


def _first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0]
    return line or type(error).__name__
