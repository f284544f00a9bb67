"""A sweep: a question, its rows, its seeds. Read from a YAML file that holds data and no code."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from hcexp.paper import table as paper_table

KEYS = ("title", "table", "baseline", "seeds", "overrides", "rows")
ROW_KEYS = ("label", "overrides")
STATES = ("finished", "failed", "missing")


@dataclass(frozen=True)
class Row:
    """One line of a table: its label, and the Hydra overrides that make it."""

    label: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """Rows under seeds. It knows no scale: the same sweep runs on a laptop and on a cluster.

    `table` is the paper's table that it answers, or None; `baseline` the label of the row that all others
    are compared with; `overrides` are common to all rows and stand before the row's own.
    """

    name: str
    title: str
    table: int | None
    baseline: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0,)
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"sweep {self.name}"
        if not self.rows:
            raise ValueError(f"{where}: rows is empty; give at least one row with a label and overrides")
        labels = [row.label for row in self.rows]
        if twice := _twice(labels):
            raise ValueError(f"{where}: label {twice!r} stands on more than one row")
        if self.baseline not in labels:
            raise ValueError(f"{where}: baseline {self.baseline!r} is not a row; rows are {', '.join(labels)}")
        _check_seeds(where, self.seeds)
        if self.table is not None:
            try:
                paper_table(self.table)
            except ValueError as error:
                raise ValueError(f"{where}: table: {error}") from None


@dataclass(frozen=True)
class Outcome:
    """One point of a sweep, a row under a seed, and what became of it.

    `state` is finished, failed or missing; `command` the exact line that trains it; `result` its
    `result.json`, or {}; `curve` maps a metric's name to its (optimiser step, value) pairs.
    """

    label: str
    seed: int
    state: str
    directory: Path
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    command: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    curve: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"outcome state {self.state!r}: allowed are {', '.join(STATES)}")


def load_sweep(name_or_path: str | Path, folder: Path) -> Sweep:
    """The sweep `<folder>/<name>.yaml`, or the user's own file if a path to one is given.

    Raises:
        FileNotFoundError: if there is neither; it names the nearest and lists those there are.
        ValueError: if the file is no sweep; one line that names the file, the key and what is allowed.
    """
    path = _find(str(name_or_path), Path(folder))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"sweep {path.name}: not YAML: {' '.join(str(error).split())}") from None
    return _sweep(path.stem, content)


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
    _check_keys(where, content, KEYS, required=("title", "baseline", "rows"))
    for key in ("title", "baseline"):
        _check_text(f"{where}: {key}", content[key])
    number = content.get("table")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise ValueError(f"{where}: table {number!r} is not the number of a table; null stands for none")
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list):
        raise ValueError(f"{where}: seeds {seeds!r} is not a list of integers, such as [0, 1, 2]")
    rows = content["rows"]
    if not isinstance(rows, list):
        raise ValueError(f"{where}: rows must be a list of {{label: …, overrides: […]}}")
    return Sweep(
        name=name,
        title=content["title"],
        table=number,
        baseline=content["baseline"],
        rows=tuple(_row(f"{where}: row {index}", row) for index, row in enumerate(rows, start=1)),
        seeds=tuple(seeds),
        overrides=_overrides(where, content.get("overrides")),
    )


def _row(where: str, content: Any) -> Row:
    if not isinstance(content, dict):
        raise ValueError(f"{where} is not a mapping with the keys {', '.join(ROW_KEYS)}")
    _check_keys(where, content, ROW_KEYS, required=("label",))
    _check_text(f"{where}: label", content["label"])
    return Row(content["label"], _overrides(where, content.get("overrides")))


def _overrides(where: str, content: Any) -> tuple[str, ...]:
    content = [] if content is None else content
    if not isinstance(content, list):
        raise ValueError(f"{where}: overrides {content!r} is not a list, such as [residual=dhc, residual.n=4]")
    for override in content:
        # `~key` is Hydra's way to take a key out. A list among the values must be quoted, or YAML reads it.
        if not isinstance(override, str) or not ("=" in override or override.startswith("~")):
            raise ValueError(f"{where}: override {override!r} is not of the form key=value (quote it if it is)")
    return tuple(content)


def _check_keys(where: str, content: dict, allowed: tuple[str, ...], required: tuple[str, ...]) -> None:
    for key in content:
        if key not in allowed:
            nearest = get_close_matches(str(key), allowed, n=1)
            guess = f" Did you mean {nearest[0]}?" if nearest else ""
            raise ValueError(f"{where}: unknown key {key!r}.{guess} Allowed: {', '.join(allowed)}")
    for key in required:
        if key not in content:
            raise ValueError(f"{where}: {key} is missing")


def _check_text(where: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} {value!r} is not a text")


def _check_seeds(where: str, seeds: tuple[int, ...]) -> None:
    if not seeds:
        raise ValueError(f"{where}: seeds is empty; give at least one integer, such as [0]")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"{where}: seed {seed!r} is not an integer of 0 or more")
    if (twice := _twice(seeds)) is not None:
        raise ValueError(f"{where}: seed {twice} is given more than once")


def _twice(items: list | tuple) -> Any:
    return next((item for index, item in enumerate(items) if item in items[:index]), None)
