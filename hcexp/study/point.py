"""The points of a sweep: one of its rows under one seed, and the run that measures it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from hcexp.configuration import compose, shareable
from hcexp.run.run import Run
from hcexp.study.sweep.overrides import quoted
from hcexp.study.sweep.sweep import Row, Sweep


@dataclass(frozen=True)
class Point:
    """One row under one seed."""

    row: Row
    seed: int
    run: Run

    @property
    def name(self) -> str:
        return f"{self.row.label}, seed {self.seed}"

    @property
    def command(self) -> str:
        """The command that makes this run alone."""
        return shlex.join(["hcexp", "train", *shareable(self.run.overrides)])

    @property
    def arguments(self) -> list[str]:
        """What a worker gives to `hcexp train`, with the run's name in MLflow, which has no part in its identity."""
        return [*self.run.overrides, f"++tracking.run_name={quoted(self.name)}"]


def plan(sweep: Sweep, scale: str, overrides: Sequence[str] = ()) -> list[Point]:
    """Every point of a sweep at a scale: seed by seed, so that a whole table is there as early as can be.

    `overrides` are common to all rows and win over the sweep's own. Raises what `compose` and `Run` raise.
    """
    points = []
    for seed in sweep.seeds:
        for row in sweep.rows:
            arguments = [f"scale={scale}", *sweep.overrides, *row.overrides, *overrides, f"seed={seed}"]
            try:
                points.append(Point(row, seed, Run(compose(arguments), arguments)))
                if seed == sweep.seeds[0]:  # seeds change nothing that can be wrong
                    points[-1].run.check()
            except Exception as error:
                error.add_note(f"in the row {row.label} of sweep {sweep.name}")
                raise
    return points
