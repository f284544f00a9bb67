"""A sweep: a question, its rows, its seeds; and what became of a row under a seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcexp.paper import table as paper_table
from hcexp.study.search.space import Space
from hcexp.study.sweep.checks import check_whole, first_twice
from hcexp.study.sweep.data import has_controls

STATES = ("finished", "failed", "pruned", "missing")


@dataclass(frozen=True)
class Row:
    """One line of a table: its label, and the Hydra overrides that make it."""

    label: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tuning:
    """Where a sweep's tuned values come from, and the values of each row: `{label: {knob: value}}`."""

    file: Path
    sweep: str
    trials: int
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Sweep:
    """Rows under seeds. It knows no scale: the same sweep runs on a laptop and on a cluster.

    `table` is the paper's table that it answers, or None; `baseline` the label of the row that all others are compared
    with; `overrides` are common to all rows and stand before the row's own. `contrasts` are the pairs of labels, a row
    and what it stands against, that answer the `question` beside the comparisons with the baseline. With a `search`,
    every row stands for a search of its own in that space, under one seed. `tuning` says of rows with tuned values
    whose they are, and `word` how the command line called it.
    """

    name: str
    title: str
    table: int | None
    baseline: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0,)
    overrides: tuple[str, ...] = ()
    search: Space | None = None
    tuning: Tuning | None = None
    question: str = ""
    contrasts: tuple[tuple[str, str], ...] = ()
    word: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        where = f"sweep {self.name}"
        if not self.rows:
            raise ValueError(f"{where}: rows is empty; give at least one row with a label and overrides")
        labels = [row.label for row in self.rows]
        if twice := first_twice(labels):
            raise ValueError(f"{where}: label {twice!r} stands on more than one row")
        for label in labels:
            if has_controls(label):
                raise ValueError(f"{where}: label {label!r} has a control character, such as the end of a line")
        if self.baseline not in labels:
            raise ValueError(f"{where}: baseline {self.baseline!r} is not a row; rows are {', '.join(labels)}")
        for pair in self.contrasts:
            if unknown := [label for label in pair if label not in labels]:
                raise ValueError(f"{where}: contrasts: {unknown[0]!r} is not a row; rows are {', '.join(labels)}")
            if pair[0] == pair[1]:
                raise ValueError(f"{where}: contrasts: {pair[0]!r} stands against itself")
        if not self.seeds:
            raise ValueError(f"{where}: seeds is empty; give at least one integer, such as [0]")
        for seed in self.seeds:
            check_whole(f"{where}: seed", seed, 0)
        if (twice := first_twice(self.seeds)) is not None:
            raise ValueError(f"{where}: seed {twice} is given more than once")
        if self.search and len(self.seeds) > 1:
            raise ValueError(
                f"{where}: a search has one seed, not {len(self.seeds)}: what it found is compared under several seeds "
                f"by a sweep with --tuned {self.name}"
            )
        if self.table is not None:
            try:
                paper_table(self.table)
            except ValueError as error:
                raise ValueError(f"{where}: table: {error}") from None

    def report_folder(self, runs: str | Path, scale: str) -> Path:
        """Where its report lies, beside the runs: that of tuned rows has a folder of its own."""
        folder = report_folder(runs, self.name, scale)
        return folder.with_name(f"{folder.name}-tuned") if self.tuning else folder


def report_folder(runs: str | Path, name: str, scale: str) -> Path:
    """Where the report of the sweep of a name lies, or what a search has found."""
    return Path(runs) / "reports" / f"{name}-{scale}"


@dataclass(frozen=True)
class Outcome:
    """One point of a sweep, and what became of it: `command` is the exact line that trains it, `result` its
    `result.json`, or {}, and `curve` maps a metric's name to its (optimiser step, value) pairs.
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

    @property
    def ending(self) -> str:
        """The state in words: of a pruned run with the step, of a failed one with the error."""
        if self.state == "pruned":
            return f"pruned at step {self.result['steps']}"
        return f"{self.state}: {self.error}" if self.error else self.state
