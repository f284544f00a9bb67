"""What the runs of a sweep measured: one frame, read by row and metric."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hcexp.analysis.statistics import Estimate, estimate, paired_difference, same_sign
from hcexp.paper import errata, printed, table
from hcexp.report.looks import looks
from hcexp.report.suites import benchmarks, suites
from hcexp.study.sweep.sweep import Outcome, Sweep


class Results:
    """The outcomes of a sweep, as what its report asks of them.

    Attributes:
        outcomes: one for every row and seed, in the sweep's order; those of which nothing is known are missing.
        finished: those of them that count.
        frame: `row`, `seed`, `metric`, `value` of everything that a finished run measured. NaN is a measurement too.
        suites: with a mean loss among the metrics; `benchmarks` are these, and downstream if a task was scored.
        looks: by suite, or downstream, what was read of each of its sets or tasks, where that was not all.
        paper: the table that the sweep answers, or None, with its `errata`.

    Raises ValueError for an outcome that is of no point of the sweep, or the second of one.
    """

    def __init__(self, sweep: Sweep, outcomes: Sequence[Outcome]):
        self.sweep = sweep
        self.outcomes = _points(sweep, outcomes)
        self.finished = tuple(outcome for outcome in self.outcomes if outcome.state == "finished")
        lines = [
            (outcome.label, outcome.seed, metric, float(value))
            for outcome in self.finished
            for metric, value in outcome.metrics.items()
            if value is not None
        ]
        self.frame = pd.DataFrame(lines, columns=["row", "seed", "metric", "value"]).astype({"value": float})
        self._values = {
            key: dict(zip(part["seed"].tolist(), part["value"].tolist(), strict=True))
            for key, part in self.frame.groupby(["row", "metric"], sort=False)
        }
        self.metrics = tuple(self.frame["metric"].unique())
        self.suites, self.benchmarks = suites(self.metrics), benchmarks(self.metrics)
        self.looks = looks(self.finished, self.benchmarks)
        self.paper = None if sweep.table is None else table(sweep.table)
        self.errata = () if sweep.table is None else errata(sweep.table)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(row.label for row in self.sweep.rows)

    @property
    def baseline(self) -> str:
        return self.sweep.baseline

    @property
    def several(self) -> bool:
        """Whether the sweep asks for more than one seed."""
        return len(self.sweep.seeds) > 1

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The runs that have no result, and what became of them."""
        return tuple(
            f"{outcome.label}, seed {outcome.seed}: {outcome.ending}"
            for outcome in self.outcomes
            if outcome.state != "finished"
        )

    def runs(self, label: str) -> tuple[Outcome, ...]:
        """The finished runs of a row."""
        return tuple(outcome for outcome in self.finished if outcome.label == label)

    def incomplete(self, label: str) -> bool:
        return len(self.runs(label)) < len(self.sweep.seeds)

    def values(self, label: str, metric: str) -> Mapping[int, float]:
        """By seed."""
        return self._values.get((label, metric), {})

    def mean(self, label: str, metric: str) -> Estimate | None:
        """Over the seeds that measured it."""
        return estimate(list(self.values(label, metric).values()))

    def difference(self, label: str, metric: str, against: str | None = None) -> Estimate | None:
        """To the baseline or another row, paired by seed; None to itself, and where no seed is shared."""
        against = against or self.baseline
        return None if label == against else paired_difference(self.values(label, metric), self.values(against, metric))

    def printed(self, label: str, column: str) -> float | bool | str | None:
        """What the paper prints of a row; None if nothing."""
        found = self._printed(label)
        return found.row.get(column) if found else None

    def printed_in(self, label: str) -> int | None:
        """The paper's table that prints the row: of the baseline perhaps another than the sweep's."""
        found = self._printed(label)
        return found.table if found else None

    def agrees(self, label: str, metric: str, column: str) -> bool | None:
        """Whether the difference has the sign that it has in a column of the paper; None if there is nothing to say."""
        found, own, base = (
            self.difference(label, metric),
            self.printed(label, column),
            self.printed(self.baseline, column),
        )
        return None if found is None or None in (own, base) else same_sign(found.mean, own - base)

    def _printed(self, label: str):
        return None if self.sweep.table is None else printed(self.sweep.table, label)


def _points(sweep: Sweep, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    asked = [(row.label, seed) for row in sweep.rows for seed in sweep.seeds]
    known: dict[tuple[str, int], Outcome] = {}
    for outcome in outcomes:
        point = (outcome.label, outcome.seed)
        if point not in asked:
            raise ValueError(f"outcome {outcome.label!r}, seed {outcome.seed}: no point of sweep {sweep.name}")
        if point in known:
            raise ValueError(f"outcome {outcome.label!r}, seed {outcome.seed}: given twice")
        known[point] = outcome
    return tuple(known.get(point) or Outcome(*point, state="missing", directory=Path()) for point in asked)
