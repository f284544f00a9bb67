"""The ledger of a sweep: a point for every row and seed, and what is known of it.

There is no list to keep in step: a point's run is named by its identity, and its result file is the entry.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hcexp.callbacks.curves import average_name
from hcexp.configuration import compose, shareable
from hcexp.evaluation import SUITES
from hcexp.evaluation.kept import conditions, evaluations
from hcexp.run import Run
from hcexp.study.sweep import Outcome, Row, Sweep
from hcexp.tracking import history, store_uri


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
            except Exception as error:
                error.add_note(f"in the row {row.label} of sweep {sweep.name}")
                raise
    return points


def outcome(point: Point) -> Outcome:
    """What the point's run left, with its curves if it was tracked.

    The metrics are those that it finished with and those that `hcexp evaluate` added (see `_metrics`).
    """
    result = point.run.result()
    finished = result["state"] == "finished"
    config = point.run.config
    uri = store_uri(config.tracking.get("uri"), config.paths.runs)
    metrics = _metrics(point, result) if finished else {}
    drawn = _drawn(point, result, metrics) if finished else []
    return Outcome(
        label=point.row.label,
        seed=point.seed,
        state=result["state"],
        directory=point.run.directory,
        metrics=metrics,
        error=result["error"],
        command=point.command,
        result=result,
        curve={name: history(uri, result["run_id"], name) for name in drawn},
    )


def _metrics(point: Point, result: dict[str, Any]) -> dict[str, float]:
    """What the run finished with, and what its last checkpoint was measured on since.

    Of a suite, or of the downstream tasks, the newest measurement takes the place of all that there was before, so that
    a mean never has sets or tasks of two measurements. What was measured under other conditions than the run's own,
    such as a quick look at a few documents, is left out.
    """
    metrics = dict(result["metrics"])
    for evaluation in evaluations(point.run.directory):
        own = conditions(result["config"], evaluation.name)
        if (evaluation.step, evaluation.conditions) == (result["steps"], own):
            before = {name: v for name, v in metrics.items() if not name.startswith(f"{evaluation.name}/")}
            metrics = before | evaluation.metrics
    return metrics


def _drawn(point: Point, result: dict[str, Any], metrics: Iterable[str]) -> list[str]:
    """The metrics that are worth a curve: the training loss, and, if the run was evaluated more than at its end, the
    loss of every validation set and the accuracy of every task.
    """
    recorded = result["config"]
    curves = (recorded.get("callbacks") or {}).get("curves")
    training = [average_name(curves.get("ema", 0.99))] if curves else []
    early = any(evaluation.step != result["steps"] for evaluation in evaluations(point.run.directory))
    if not (early or recorded["evaluation"].get("every")):
        return training
    starts = tuple(f"{name}/" for name in (*SUITES, "downstream"))
    return training + [name for name in metrics if name.startswith(starts) and name.endswith(("/loss", "/accuracy"))]
