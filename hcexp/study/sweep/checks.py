"""What the parts of a sweep's file are asked: each refuses in one line that names the place and what is allowed."""

from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from hcexp.configuration import shipped


def check_keys(where: str, content: Any, allowed: Sequence[str], required: Iterable[str] = ()) -> None:
    """Raise ValueError unless `content` is a mapping with all the required and none but the allowed keys."""
    if not isinstance(content, dict):
        raise ValueError(f"{where} is not a mapping with the keys {', '.join(allowed)}")
    for key in content:
        check_key(f"{where}: unknown key {key!r}", key, allowed)
    for key in required:
        if key not in content:
            raise ValueError(f"{where}: {key} is missing")


def check_key(wrong: str, key: Any, allowed: Sequence[str]) -> None:
    """Raise ValueError that begins with `wrong` unless the key is one of those allowed."""
    if key not in allowed:
        nearest = get_close_matches(str(key), allowed, n=1)
        guess = f" Did you mean {nearest[0]}?" if nearest else ""
        raise ValueError(f"{wrong}.{guess} Allowed: {', '.join(allowed)}")


def check_text(where: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} {value!r} is not a text")


def check_whole(where: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where} {value!r} is not an integer of {least} or more")


def check_knob(where: str, knob: Any, value: Any = None) -> None:
    """Raise ValueError unless `knob` can be the name of a knob, and is not one that a sweep sets by itself."""
    check_text(f"{where}: knob", knob)
    if any(mark in knob for mark in "=+~ @"):
        raise ValueError(f"{where}: knob {knob!r} is not a plain name, such as optimizer.lr")
    check_setting(where, knob, value)
    if knob in ("seed", "scale"):
        raise ValueError(f"{where}: {knob} cannot be a knob of a sweep: use --{knob}{'s' if knob == 'seed' else ''}")


def check_setting(where: str, knob: str, value: Any = None) -> None:
    """Raise ValueError for what would bring in files, and the code they name, from outside of the known choices."""
    if knob.startswith(("hydra.", "hydra/")):
        raise ValueError(f"{where}: {knob} is not for a file to set: give it on the command line")
    if ".." in str(value) and ("/" in knob or (shipped("conf") / knob).is_dir()):
        raise ValueError(f"{where}: {knob}={value} is not a choice of {knob}: it must be a name, without ..")


def check_values(where: str, values: Any) -> None:
    """Raise ValueError unless `values` is a list of different numbers, switches, texts or nulls."""
    if not isinstance(values, list) or not values:
        raise ValueError(f"{where} {values!r} is not a list of values, such as [1, 2, 4]")
    for value in values:
        if not isinstance(value, str | int | float | None):
            raise ValueError(f"{where}: {value!r} is not a number, true, false, a text or null")
    if (twice := first_twice([(type(value), value) for value in values])) is not None:
        raise ValueError(f"{where}: {twice[1]!r} is given more than once")


def first_twice(items: Sequence[Hashable]) -> Any:
    """The first that stands there a second time; None if there is none."""
    return next((item for index, item in enumerate(items) if item in items[:index]), None)
