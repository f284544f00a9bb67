"""Sweeps read from their YAML files, which hold data and no code."""

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from hcexp.study.search.space import read_space
from hcexp.study.sweep.checks import check_keys, check_setting, check_text
from hcexp.study.sweep.data import check_data, read_yaml
from hcexp.study.sweep.grid import with_grid
from hcexp.study.sweep.overrides import read
from hcexp.study.sweep.sweep import Row, Sweep

KEYS = ("title", "question", "table", "baseline", "seeds", "overrides", "rows", "grid", "search", "contrasts")
ROW_KEYS = ("label", "overrides")


def load_sweep(name_or_path: str | Path, folder: Path) -> Sweep:
    """The sweep `<folder>/<name>.yaml`, or the user's own file if a path to one is given.

    A file has `rows`, or a `grid` whose every combination is a row, or both: then every row stands with every
    combination. With `search` each of them is searched alike.

    Raises FileNotFoundError if there is neither, with the nearest and those there are, and ValueError if the file is no
    sweep, in one line that names the file, the key and what is allowed.
    """
    path = _find(str(name_or_path), Path(folder))
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise ValueError(f"sweep {path.name}: {error}") from None
    check_data(f"sweep {path.stem}", content)
    return replace(_sweep(path.stem, content), word=str(name_or_path))


def _find(name: str, folder: Path) -> Path:
    available = sorted(path.stem for path in folder.glob("*.yaml"))
    if name in available:
        return folder / f"{name}.yaml"
    own = Path(name).expanduser()
    if own.is_file():
        return own
    if own.suffix in (".yaml", ".yml") or len(own.parts) > 1:
        raise FileNotFoundError(f"sweep file {name} does not exist")
    nearest = get_close_matches(name, available, n=1, cutoff=0.4)
    guess = f" Did you mean {nearest[0]}?" if nearest else ""
    raise FileNotFoundError(f"no sweep {name!r}.{guess} Available: {', '.join(available) or 'none'}")


def _sweep(name: str, content: Any) -> Sweep:
    where = f"sweep {name}"
    if not isinstance(content, dict):
        raise ValueError(f"{where}: the file must be a mapping with the keys {', '.join(KEYS)}")
    check_keys(where, content, KEYS, required=("title", "baseline"))
    for key in ("title", "question", "baseline"):
        if key in content:
            check_text(f"{where}: {key}", content[key])
    number = content.get("table")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise ValueError(f"{where}: table {number!r} is not the number of a table; null stands for none")
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list):
        raise ValueError(f"{where}: seeds {seeds!r} is not a list of integers, such as [0, 1, 2]")
    return Sweep(
        name=name,
        title=content["title"],
        table=number,
        baseline=content["baseline"],
        rows=_rows(where, content),
        seeds=tuple(seeds),
        overrides=_overrides(where, content.get("overrides")),
        search=read_space(f"{where}: search", content["search"]) if "search" in content else None,
        question=content.get("question", ""),
        contrasts=_contrasts(f"{where}: contrasts", content.get("contrasts", [])),
    )


def _contrasts(where: str, content: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(content, list):
        raise ValueError(f"{where} must be a list of {{row: …, against: …}}")
    for each in content:
        check_keys(where, each, ("row", "against"), required=("row", "against"))
        for key in ("row", "against"):
            check_text(f"{where}: {key}", each[key])
    return tuple((each["row"], each["against"]) for each in content)


def _rows(where: str, content: dict[str, Any]) -> tuple[Row, ...]:
    if not {"rows", "grid"} & content.keys():
        raise ValueError(f"{where}: rows is missing; give rows, or a grid, or both")
    rows = None
    if "rows" in content:
        if not isinstance(content["rows"], list):
            raise ValueError(f"{where}: rows must be a list of {{label: …, overrides: […]}}")
        rows = tuple(_row(f"{where}: row {index}", row) for index, row in enumerate(content["rows"], start=1))
    return with_grid(f"{where}: grid", content["grid"], rows) if "grid" in content else rows


def _row(where: str, content: Any) -> Row:
    check_keys(where, content, ROW_KEYS, required=("label",))
    check_text(f"{where}: label", content["label"])
    return Row(content["label"], _overrides(where, content.get("overrides")))


def _overrides(where: str, content: Any) -> tuple[str, ...]:
    content = [] if content is None else content
    if not isinstance(content, list):
        raise ValueError(f"{where}: overrides {content!r} is not a list, such as [residual=dhc, residual.n=4]")
    for override in content:
        # `~key` is Hydra's way to take a key out. A list among the values must be quoted, or YAML reads it.
        try:
            if not isinstance(override, str) or not ("=" in override or override.startswith("~")):
                raise ValueError
            ((knob, value),) = read([override]).items()
        except (ValueError, RecursionError, HydraException):
            reason = "is not of the form key=value (quote it if it is)"
            raise ValueError(f"{where}: override {override!r:.100} {reason}") from None
        check_setting(where, knob, value)
    return tuple(content)
