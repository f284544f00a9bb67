"""Errors that a person can mend, in one line each."""

import re
from collections.abc import Sequence

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from hcexp.configuration import compose, nearest, shipped
from hcexp.run.identity import flat

# What the project raises on purpose, with a line that names the knob, the value and what is allowed.
MENDABLE = (ValueError, OSError, ArithmeticError, HydraException, OmegaConfBaseException)

# Knobs that had another name.
RENAMED = {"schedule.final": "schedule.min_lr_ratio", "embedded": "corpus"}

# Other names that the literature has for residual modes.
ALSO_CALLED = {
    "ptb": "parallel",
    "parallel_transformer_block": "parallel",
    "hyper_connections": "dhc",
    "hc": "dhc",
    "plain": "pre_norm",
}

# What torch says of sizes that no machine has memory for, or no number for; and the knobs that sizes come from.
TOO_LARGE = re.compile(r"allocate|out of memory|Storage size calculation overflowed|Overflow when unpacking|too large")
SIZES = re.compile(
    r"\+*(?:(?:model|residual)\.\w+|(?:data|evaluation|downstream)\.(?:batch_size|sequence_length))=\d+$"
)

# What Hydra says of `seed=0,1` and of `seed=choice(0,1)`.
LISTED = r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'(?:\n| requires|$)"

# What gloo, NCCL and torch's store say where another process of the run is gone.
LOST = r"gloo/transport|Connection (closed|reset) by peer|Broken pipe|Socket Timeout|ncclRemoteError|TCPStore"


def explain(error: BaseException, arguments: Sequence[str]) -> str | None:
    """The error in one line, or None if it is not one that its reader can mend, but a fault of the program."""
    if line := _too_large(error, arguments):
        return line
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        also = {alias: known for alias, known in (ALSO_CALLED | RENAMED).items() if known in error.options}
        near = nearest(name, error.options, also)
        return f"{group}={name} is not known{near}; choose from {', '.join(error.options)}"
    if isinstance(error, ConfigCompositionException) and (match := re.match(r"Could not override '(.+?)'", str(error))):
        knob, knobs = match[1], _knobs(arguments)
        near = nearest(knob, knobs, {old: new for old, new in RENAMED.items() if new in knobs})
        return f"{knob} is not a knob here{near}; hcexp train --config shows all of them"
    if isinstance(error, HydraException) and (match := re.match(LISTED, str(error))):
        return (
            f"{match[1]} lists several values, and one run takes one: hcexp train -m trains them all, a sweep's file "
            "takes them as a grid; a list is written [a,b], a text with a comma in quotes"
        )
    if isinstance(error, OverrideParseException):
        return f"{error.override} is not an override: write knob=value, in quotes if the value has spaces or commas"
    if isinstance(error, MissingMandatoryValue):
        knob = error.full_key or str(error).rpartition(" ")[2]
        return f"{knob} must be given: add {knob}=…"
    if isinstance(error, InstantiationException) and (match := re.match(r"Error locating target '(\S+)'", str(error))):
        knob = re.search(r"full_key: (\S+)", str(error))
        where = f"{knob[1]}._target_" if knob else "_target_"
        return f"{where}={match[1]} cannot be imported: is its package installed, or on PYTHONPATH?"
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        if isinstance(error.__cause__, TypeError):  # a knob added with + that the target does not know
            return _first_line(error.__cause__)
        line = explain(error.__cause__, arguments)
        section = re.search(r"full_key: (\S+)", str(error))
        # What is built in several sections, such as a source of text, cannot know which one it is in.
        return f"{section[1]}.{line}" if section and line and re.match(r"\w+=", line) else line
    if isinstance(error, RuntimeError) and re.search(LOST, str(error)):
        return "a process of the run died; the same command goes on from the last checkpoint"
    lightnings = type(error).__name__ == "MisconfigurationException"  # slow to import
    return _first_line(error) if lightnings or isinstance(error, MENDABLE) else None


def _too_large(error: BaseException, arguments: Sequence[str]) -> str | None:
    """The line for a size that cannot be: it names the largest number among the overrides."""
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    if isinstance(cause, RecursionError):
        return "the configuration is nested too deep"
    if not isinstance(cause, MemoryError | OverflowError) and not (
        isinstance(cause, RuntimeError | TypeError) and TOO_LARGE.search(str(cause))
    ):
        return None
    given = [word for word in arguments if SIZES.match(word)]
    if not given:
        return f"there is not enough memory: {_first_line(cause)}"
    largest = max(given, key=lambda word: int(word.partition("=")[2]))
    return f"{largest} is too large: there is no memory for it ({_first_line(cause)[:200]})"


def _knobs(arguments: Sequence[str]) -> list[str]:
    """Every knob of the configuration that the choices among `arguments` give; of the default one if they give none."""
    choices = [a for a in arguments if "=" in a and (shipped("conf") / a.partition("=")[0].lstrip("+")).is_dir()]
    try:
        config = compose(choices)
    except Exception:  # one of the choices is at fault too
        config = compose()
    knobs = flat(OmegaConf.to_container(config))
    own = (knob for knob in knobs if not knob.startswith("choices.") and not knob.rpartition(".")[2].startswith("_"))
    return [*config.choices, *own]


def _first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0]
    return line or type(error).__name__
