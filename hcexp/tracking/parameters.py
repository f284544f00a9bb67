"""A configuration as MLflow parameters."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LONGEST = 250  # characters MLflow keeps of a parameter's value
SKIPPED = {"hydra", "paths"}  # top-level sections that say where a run is, not what it is


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a resolved configuration: `{"model": {"d": 128}}` gives `{"model.d": "128"}`.

    Left out: keys that begin with an underscore (`_target_`), values that are places (paths), the sections
    `hydra` and `paths`, and what is not set. A value of more than 250 characters is cut, with `…` at its
    end.
    """
    kept = {key: value for key, value in config.items() if key not in SKIPPED}
    return {name: _cut(value) for name, value in _flatten(kept) if not _is_place(value)}


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if str(key).startswith("_") or value is None:
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_place(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and value.startswith(("/", "~", "./", "../")))


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
