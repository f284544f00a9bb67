"""What became of a point: what its run left on the disk, and what was measured since."""

from collections.abc import Iterable
from typing import Any

from hcexp.callbacks.curves import average_name
from hcexp.run.folder import RunFolder
from hcexp.run.scores import evaluations, final_metrics
from hcexp.study.point import Point
from hcexp.study.sweep.sweep import Outcome


def outcome(point: Point) -> Outcome:
    """What the point's run left, its metrics with those that `hcexp evaluate` added; a curve may be empty."""
    result = point.run.result()
    finished = result["state"] == "finished"
    metrics = final_metrics(point.run.directory, result) if finished else {}
    drawn = _drawn(point, result, metrics) if finished else []
    curves = RunFolder(point.run.directory).curves if drawn else {}
    return Outcome(
        label=point.row.label,
        seed=point.seed,
        state=result["state"],
        directory=point.run.directory,
        metrics=metrics,
        error=result["error"],
        command=point.command,
        result=result,
        curve={name: curves.get(name, []) for name in drawn},
    )


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
    evaluated = [name for name in metrics if not name.startswith(("train/", "perf/"))]
    return training + [name for name in evaluated if name.endswith(("/loss", "/accuracy"))]
