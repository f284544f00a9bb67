"""Hydra overrides, written and read: `knob=value` as a sweep's file, a trial or a table of values needs them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hcexp.configuration import parse

PLAIN = re.compile(r"[\w./+-]+", re.ASCII)  # texts that mean to Hydra what they say; numbers among them stay numbers


def override(knob: str, value: Any) -> str:
    """`knob=value`, quoted where Hydra would read the value as something else."""
    return f"{knob}={written(value)}"


def written(value: Any) -> str:
    """A number, switch, text, null, or a mapping or list of these, in Hydra's spelling."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(written, value)) + "]"
    return value if PLAIN.fullmatch(value) else quoted(value)


def quoted(text: str) -> str:
    """A text in quotes. To Hydra a backslash is one, but before a quote, the closing one too, it is half of one."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + (r"\'" if match[2] else ""), text) + "'"


def short(knobs: Iterable[str]) -> dict[str, str]:
    """The last part of each knob's name, `n` of `residual.n`; the whole name where two would be called alike."""
    knobs = list(knobs)
    ends = Counter(knob.rpartition(".")[2] for knob in knobs)
    return {knob: end if ends[end := knob.rpartition(".")[2]] == 1 else knob for knob in knobs}


def read(overrides: Iterable[str]) -> dict[str, Any]:
    """Knobs and their values, the last of each; raises Hydra's exception for what is no override.

    `residual.tanh=True` and `+residual.tanh=true` are the same; a knob that is taken out (`~knob`) counts as null.
    """
    return {each.key_or_group: each.value() for each in parse(list(overrides))}
