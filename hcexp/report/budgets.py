"""Rows compared at what both have spent: equal tokens, equal training FLOPs, equal measured time."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hcexp.analysis.convergence import Convergence, convergence
from hcexp.report.costs import Costs, RowCost
from hcexp.report.statistics import Estimate, estimate, paired_difference
from hcexp.report.suites import MEAN_LOSS, TRAINING
from hcexp.study.sweep.sweep import Outcome, Sweep

SECONDS = "perf/train_seconds"
TOKENS, FLOPS, TIME = "tokens", "flops", "time"
EQUAL = {TOKENS: "equal tokens", FLOPS: "equal training FLOPs", TIME: "equal measured time"}

Curve = Sequence[tuple[float, float]]  # (tokens, loss)


@dataclass(frozen=True)
class Reading:
    """One row at the lesser of what its run and the baseline's run, under the same seed, have spent in all.

    `cost` is that of a token over the baseline's; `read` and `baseline_read` the shares of the runs' tokens at which
    both have spent as much, one of them all. `value` is the row's loss there, `difference` to the baseline's loss
    there, paired by seed. None: unknown, or before the first point of a curve.
    """

    cost: Estimate | None = None
    read: Estimate | None = None
    baseline_read: Estimate | None = None
    value: Estimate | None = None
    difference: Estimate | None = None


@dataclass(frozen=True)
class Speedup:
    """Tokens of the baseline over those at which a row has the baseline's final loss, over seeds.

    `ratio` is None where a seed of the row never has it: a mean over the others would flatter the row. `not_reached`
    are those seeds, and `reached` is how many have it. With `at_least` the ratio is a lower bound, and has no interval:
    a seed of the row is already below that loss where its curve begins.
    """

    ratio: Estimate | None
    reached: int
    not_reached: tuple[int, ...]
    at_least: bool = False


@dataclass(frozen=True)
class Budgets:
    """The rows on one loss curve. `readings` by what is equal (`tokens`, `flops`, `time`) and label, where known;
    `interleaved` says whether the time is that of steps timed in turn; `points` are the fewest of a curve.
    """

    metric: str
    points: int
    readings: Mapping[str, Mapping[str, Reading]]
    interleaved: bool
    speedups: Mapping[str, Speedup]

    @property
    def smoothed(self) -> bool:
        """Whether it is the moving average of the training loss, no validation loss."""
        return self.metric.startswith(TRAINING)


def budgets(sweep: Sweep, finished: Sequence[Outcome], costs: Costs) -> tuple[Budgets, ...]:
    """For every suite that was evaluated on the way, and else on the smoothed training loss; () without curves."""
    metrics = list(dict.fromkeys(name for outcome in finished for name in outcome.curve))
    evaluated = [name for name in metrics if name.endswith(MEAN_LOSS)]
    for chosen in (evaluated, [name for name in metrics if name.startswith(TRAINING)]):
        found = [each for metric in chosen if (each := _budgets(sweep, finished, costs, metric))]
        if found:
            return tuple(found)
    return ()


def read_at(curve: Curve, tokens: float) -> float | None:
    """On the straight line between the two nearest points; None before the first or past the last of them."""
    at = bisect_left(curve, tokens, key=lambda point: point[0])
    if at == len(curve):
        last, loss = curve[-1]
        return loss if math.isclose(last, tokens, rel_tol=1e-9) else None
    (x1, y1), (x0, y0) = curve[at], curve[max(at - 1, 0)]
    if x1 == tokens:
        return y1
    return None if at == 0 else y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)


def _budgets(sweep: Sweep, finished: Sequence[Outcome], costs: Costs, metric: str) -> Budgets | None:
    curves: dict[str, dict[int, Curve]] = {row.label: {} for row in sweep.rows}
    for outcome in finished:
        if curve := _in_tokens(outcome, metric):
            curves[outcome.label][outcome.seed] = curve
    baseline = curves[sweep.baseline]
    if not baseline or not any(curves[row.label] for row in sweep.rows if row.label != sweep.baseline):
        return None
    ratios = dict(_ratios(sweep, finished, costs))
    ends = {seed: curve for seed, curve in baseline.items() if math.isfinite(curve[-1][1])}
    return Budgets(
        metric=metric,
        points=min(len(curve) for by_seed in curves.values() for curve in by_seed.values()),
        readings={
            equal: {label: _reading(curves[label], baseline, by_seed) for label, by_seed in by_label.items()}
            for equal, by_label in ratios.items()
        },
        interleaved=any(row.measured for row in costs.rows),
        speedups={
            label: _speedup(convergence(by_seed, ends))
            for label, by_seed in curves.items()
            if label != sweep.baseline and by_seed.keys() & ends.keys()
        },
    )


def _in_tokens(outcome: Outcome, metric: str) -> Curve | None:
    """A run's curve to its very end; None if it has no two points, or its tokens are unknown."""
    tokens, steps = outcome.result.get("tokens"), outcome.result.get("steps")
    if not (tokens and steps):
        return None
    points = [(step * tokens / steps, loss) for step, loss in outcome.curve.get(metric, ())]
    return points if len(points) > 1 and math.isclose(points[-1][0], tokens) else None


def _ratios(
    sweep: Sweep, finished: Sequence[Outcome], costs: Costs
) -> Iterator[tuple[str, dict[str, dict[int, float]]]]:
    """What is equal, and the cost of a token of every row over the baseline's, by seed; 1 of equal tokens."""
    seeds = {row.label: [o.seed for o in finished if o.label == row.label] for row in sweep.rows}

    def same(ratio: Mapping[str, float | None]) -> dict[str, dict[int, float]]:
        known = {label: 1.0 if label == sweep.baseline else value for label, value in ratio.items()}
        return {label: dict.fromkeys(seeds[label], value) if value else {} for label, value in known.items()}

    yield TOKENS, same({row.label: 1.0 for row in sweep.rows})
    base = costs.baseline.predicted
    if base:
        yield FLOPS, same({row.label: _over(row, base.flops.training) for row in costs.rows})
    if any(row.measured for row in costs.rows):
        yield TIME, same({row.label: row.measured.step if row.measured else None for row in costs.rows})
    elif any(SECONDS in outcome.metrics for outcome in finished):
        yield TIME, {row.label: _of_runs(row.label, sweep.baseline, finished) for row in sweep.rows}


def _over(row: RowCost, baseline: float) -> float | None:
    return row.predicted.flops.training / baseline if row.predicted else None


def _of_runs(label: str, baseline: str, finished: Sequence[Outcome]) -> dict[int, float]:
    """Seconds a token over those of the baseline's run under the same seed."""
    seconds = {
        (o.label, o.seed): o.metrics[SECONDS] / o.result["tokens"]
        for o in finished
        if o.metrics.get(SECONDS) and o.result.get("tokens")
    }
    return {
        seed: own / seconds[baseline, seed]
        for (known, seed), own in seconds.items()
        if known == label and (baseline, seed) in seconds
    }


def _reading(curves: Mapping[int, Curve], baseline: Mapping[int, Curve], ratios: Mapping[int, float]) -> Reading:
    shares, baseline_shares, values, against = {}, {}, {}, {}
    for seed in sorted(curves.keys() & baseline.keys() & ratios.keys()):
        ratio, total, baseline_total = ratios[seed], curves[seed][-1][0], baseline[seed][-1][0]
        # In tokens of the baseline, which cost 1 each.
        spent = min(baseline_total, ratio * total)
        shares[seed], baseline_shares[seed] = spent / ratio / total, spent / baseline_total
        own, other = read_at(curves[seed], spent / ratio), read_at(baseline[seed], spent)
        values |= {} if own is None else {seed: own}
        against |= {} if other is None else {seed: other}
    return Reading(
        cost=estimate(list(ratios.values())),
        read=estimate(list(shares.values())),
        baseline_read=estimate(list(baseline_shares.values())),
        value=estimate(list(values.values())),
        difference=None if curves is baseline else paired_difference(values, against),
    )


def _speedup(found: Convergence) -> Speedup:
    ratios = list(found.ratios.values())
    ratio = None if found.not_reached else estimate(ratios)
    if ratio and found.at_least:
        ratio = replace(ratio, half_width=None, deviation=None)
    return Speedup(ratio, len(ratios), found.not_reached, bool(found.at_least))
