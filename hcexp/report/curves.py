"""Curves over training, small enough for a page: per seed, their mean, and the difference to the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hcexp.report.statistics import estimate
from hcexp.study.sweep.sweep import Outcome, Sweep

POINTS = 400

Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class RowCurves:
    """`seeds` by seed; `mean` over them; `difference` to the baseline, the mean of the paired ones."""

    label: str
    is_baseline: bool
    seeds: dict[int, Curve]
    mean: Curve
    difference: Curve


@dataclass(frozen=True)
class Figure:
    """All rows with a curve of a metric, at most 400 points each. `axis` is what x counts: tokens or steps."""

    metric: str
    axis: str
    rows: tuple[RowCurves, ...]


def figures(sweep: Sweep, outcomes: Sequence[Outcome]) -> tuple[Figure, ...]:
    """A figure of every metric that some run has a curve of: the training loss first, then what was evaluated, the mean
    of each suite and of the tasks before its parts.
    """
    metrics = list(dict.fromkeys(name for outcome in outcomes for name in outcome.curve))
    ordered = sorted(metrics, key=lambda name: _place(name, metrics))
    drawn = (figure(sweep, outcomes, metric) for metric in ordered)
    return tuple(each for each in drawn if each.rows)


def figure(sweep: Sweep, outcomes: Sequence[Outcome], metric: str) -> Figure:
    """The curves of one metric of the finished runs, in the sweep's order.

    The means are taken before thinning, at the steps that all their seeds have. What was evaluated only once has no
    curve.
    """
    least = 1 if metric.startswith("train/") else 2
    drawn = [o for o in outcomes if o.state == "finished" and len(o.curve.get(metric, ())) >= least]
    per_step = {(o.label, o.seed): _tokens_per_step(o) for o in drawn}
    in_tokens = bool(drawn) and None not in per_step.values()
    full: dict[str, dict[int, dict[int, float]]] = {}
    for outcome in drawn:
        factor = per_step[outcome.label, outcome.seed] if in_tokens else 1
        points = {round(step * factor): value for step, value in outcome.curve[metric] if math.isfinite(value)}
        if points:
            full.setdefault(outcome.label, {})[outcome.seed] = points
    baseline = full.get(sweep.baseline, {})
    rows = [_row(row.label, full[row.label], baseline, sweep) for row in sweep.rows if row.label in full]
    return Figure(metric, "tokens" if in_tokens else "steps", tuple(rows))


def thin(curve: Sequence[tuple[int, float]], points: int = POINTS) -> Curve:
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
    return known, name != "mean", metrics.index(metric)


def _row(label: str, seeds: dict[int, dict[int, float]], baseline: dict[int, dict], sweep: Sweep) -> RowCurves:
    differences = {
        seed: {x: value - baseline[seed][x] for x, value in curve.items() if x in baseline[seed]}
        for seed, curve in seeds.items()
        if seed in baseline
    }
    is_baseline = label == sweep.baseline
    return RowCurves(
        label=label,
        is_baseline=is_baseline,
        seeds={seed: thin(sorted(curve.items())) for seed, curve in sorted(seeds.items())},
        mean=_mean(seeds),
        difference=() if is_baseline else _mean(differences),
    )


def _mean(curves: Mapping[int, Mapping[int, float]]) -> Curve:
    shared = sorted(set.intersection(*map(set, curves.values()))) if curves else []
    return thin([(x, estimate([curve[x] for curve in curves.values()]).mean) for x in shared])


def _tokens_per_step(outcome: Outcome) -> float | None:
    tokens, steps = outcome.result.get("tokens"), outcome.result.get("steps")
    return tokens / steps if tokens and steps else None
