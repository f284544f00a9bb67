"""Curves over training, small enough for a page: per seed, their mean, and the difference to the baseline."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hcexp.analysis.statistics import estimate
from hcexp.report.looks import marked
from hcexp.report.results import Results
from hcexp.report.suites import DOWNSTREAM, MEAN, title
from hcexp.study.sweep.sweep import Outcome

POINTS = 400
# With so many points, the first fifth of a loss is left out of the vertical range: it would take up nearly all of it.
MANY = 10

Curve = Sequence[tuple[int, float]]
Seeds = Mapping[int, Mapping[int, float]]  # by seed, the values by what x counts


def curves(results: Results) -> dict[str, Any]:
    """The rows that have a curve, and the metrics to choose among, for curves.js.

    The training loss comes first, then what was evaluated, the mean of each suite and of the tasks before its parts.
    Each metric has an entry for each row: at most 400 points of every seed, of their mean and of the mean difference to
    the baseline, paired by seed. Values have five digits after the point, and accuracies are in percent.
    """
    metrics = list(dict.fromkeys(name for outcome in results.finished for name in outcome.curve))
    ordered = sorted(metrics, key=lambda name: _place(name, metrics))
    found = {metric: seeds for metric in ordered if (seeds := _seeds(results, metric))}
    labels = [label for label in results.labels if any(label in seeds for seeds in found.values())]
    return {
        "rows": [{"label": label, "baseline": label == results.baseline} for label in labels],
        "metrics": [_metric(results, metric, seeds, labels) for metric, seeds in found.items()],
    }


def thin(curve: Curve, points: int = POINTS) -> Curve:
    """At most `points` of a curve: its ends, and the lowest and highest of each stretch between.

    An even stride would drop the spikes, which are what one looks for.
    """
    if len(curve) <= points:
        return tuple(curve)
    stretches = (points - 2) // 2
    inner = range(1, len(curve) - 1)
    kept = {0, len(curve) - 1}
    for index in range(stretches):
        stretch = inner[index * len(inner) // stretches : (index + 1) * len(inner) // stretches]
        kept.add(min(stretch, key=lambda at: curve[at][1]))
        kept.add(max(stretch, key=lambda at: curve[at][1]))
    return tuple(curve[index] for index in sorted(kept))


def _place(metric: str, metrics: Sequence[str]) -> tuple[int, bool, int]:
    benchmark, name = metric.split("/")[:2]
    of_benchmarks = [each.split("/")[0] for each in metrics]
    known = -1 if benchmark == "train" else of_benchmarks.index(benchmark)
    return known, name != MEAN, metrics.index(metric)


def _drawn(results: Results, metric: str) -> list[Outcome]:
    """The runs with a curve. What was evaluated only once has none."""
    least = 1 if metric.startswith("train/") else 2
    return [outcome for outcome in results.finished if len(outcome.curve.get(metric, ())) >= least]


def _in_tokens(runs: Sequence[Outcome]) -> bool:
    return all(run.result.get("tokens") and run.result.get("steps") for run in runs)


def _seeds(results: Results, metric: str) -> dict[str, Seeds]:
    """The finite points of every row and seed, over tokens where all runs know theirs, else over steps."""
    runs, found = _drawn(results, metric), {}
    for run in runs:
        factor = run.result["tokens"] / run.result["steps"] if _in_tokens(runs) else 1
        points = {round(step * factor): value for step, value in run.curve[metric] if math.isfinite(value)}
        if points:
            found.setdefault(run.label, {})[run.seed] = points
    return found


def _metric(results: Results, metric: str, seeds: Mapping[str, Seeds], labels: Sequence[str]) -> dict[str, Any]:
    share = metric.endswith("/accuracy")
    baseline = seeds.get(results.baseline, {})
    group, name, caption = _words(results, metric)
    rows = [_row(seeds.get(label, {}), {} if label == results.baseline else baseline, share) for label in labels]
    return {
        "group": group,
        "name": name,
        "caption": caption,
        "axis": "tokens" if _in_tokens(_drawn(results, metric)) else "steps",
        "unit": "accuracy %" if share else "loss",
        "digits": 1 if share else 3,
        "skip": 0.0 if share or max(len(row["mean"]) for row in rows) < MANY else 0.2,
        "rows": rows,
    }


def _row(seeds: Seeds, baseline: Seeds, share: bool) -> dict[str, list]:
    """The means are taken before thinning, at the points that all seeds have."""
    paired = {
        seed: {x: value - baseline[seed][x] for x, value in curve.items() if x in baseline[seed]}
        for seed, curve in seeds.items()
        if seed in baseline
    }

    def points(curve: Curve) -> list[list[float]]:
        return [[x, round(100 * y if share else y, 5)] for x, y in thin(curve)]

    return {
        "mean": points(_mean(seeds)),
        "difference": points(_mean(paired)),
        "seeds": [points(sorted(curve.items())) for _, curve in sorted(seeds.items())] if len(seeds) > 1 else [],
    }


def _mean(seeds: Seeds) -> Curve:
    shared = sorted(set.intersection(*map(set, seeds.values()))) if seeds else []
    return [(x, estimate([curve[x] for curve in seeds.values()]).mean) for x in shared]


def _words(results: Results, metric: str) -> tuple[str, str, str]:
    """The group that a metric is chosen from, its name there, and what it is."""
    benchmark, name, *_ = metric.split("/")
    if benchmark == "train":
        decay = name.removeprefix("loss_ema")
        decay = decay if "e" in decay else f"0.{decay}"
        return "Training", "training loss", f"Training loss, exponential moving average ({decay})"
    if benchmark == DOWNSTREAM:
        what = "Mean accuracy of the downstream tasks" if name == MEAN else f"Accuracy of the task {name}"
        group = "Downstream accuracy"
    else:
        suite = f"{title(benchmark)} suite"
        what = f"Mean loss of the {suite}" if name == MEAN else f"Loss of {name}, {suite}"
        group = f"{title(benchmark)} loss"
    look = results.looks.get(benchmark)
    return marked(group, look), f"{title(benchmark)} {name}", marked(what, look)
