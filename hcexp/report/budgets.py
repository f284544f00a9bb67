"""Rows compared at what both have spent: equal tokens, equal training FLOPs, equal measured time."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hcexp.analysis.convergence import Convergence, convergence
from hcexp.analysis.statistics import Estimate, estimate, paired_difference
from hcexp.cost.benchmark import StepTiming
from hcexp.report.costs import Costs
from hcexp.report.results import Results
from hcexp.report.suites import MEAN_LOSS, TRAINING
from hcexp.study.sweep.sweep import Outcome

SECONDS = "perf/train_seconds"
TOKENS, FLOPS, TIME = "tokens", "flops", "time"
EQUAL = {TOKENS: "equal tokens", FLOPS: "equal training FLOPs", TIME: "equal measured time"}

# So many times must a run be as long as the moving average of its training loss extends, or that loss decides nothing.
SPANS = 5

Curve = Sequence[tuple[float, float]]  # (tokens, loss)


@dataclass(frozen=True)
class AtBudget:
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
class Budgets:
    """The rows on one loss curve. `readings` by what is equal (`tokens`, `flops`, `time`) and label, where known;
    `interleaved` says whether the time is that of steps timed in turn; `points` are the fewest of a curve; `span` is
    the part of the shortest run that a moving average extends over, 0 of a validation loss. `convergence` has the
    ratios of each row with the baseline, and `effective` their mean times the row's throughput over the baseline's,
    where all seeds get there and steps were timed in turn; the clock's uncertainty is in its interval.
    """

    metric: str
    points: int
    readings: Mapping[str, Mapping[str, AtBudget]]
    interleaved: bool
    convergence: Mapping[str, Convergence]
    effective: Mapping[str, Estimate]
    span: float

    @property
    def decides(self) -> bool:
        """Whether the curve says anything of a moment: not an average that spans more than a fifth of the runs."""
        return self.span <= 1 / SPANS

    @property
    def smoothed(self) -> bool:
        """Whether it is the moving average of the training loss, no validation loss."""
        return self.metric.startswith(TRAINING)


def budgets(results: Results, costs: Costs) -> tuple[Budgets, ...]:
    """For every suite that was evaluated on the way, and else on the smoothed training loss; () without curves."""
    metrics = list(dict.fromkeys(name for outcome in results.finished for name in outcome.curve))
    evaluated = [name for name in metrics if name.endswith(MEAN_LOSS)]
    for chosen in (evaluated, [name for name in metrics if name.startswith(TRAINING)]):
        found = [each for metric in chosen if (each := _budgets(results, costs, metric))]
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


def _budgets(results: Results, costs: Costs, metric: str) -> Budgets | None:
    curves: dict[str, dict[int, Curve]] = {label: {} for label in results.labels}
    for outcome in results.finished:
        if curve := _in_tokens(outcome, metric):
            curves[outcome.label][outcome.seed] = curve
    baseline = curves[results.baseline]
    if not baseline or not any(curves[label] for label in results.labels if label != results.baseline):
        return None
    readings = {
        equal: {label: _at(curves[label], baseline, by_seed) for label, by_seed in by_label.items()}
        for equal, by_label in _ratios(results, costs)
    }
    measured = {row.label: row.measured for row in costs.rows}
    if TIME in readings:
        readings[TIME] = {
            label: _timed(at, curves[label], baseline, measured[label]) for label, at in readings[TIME].items()
        }
    ends = {seed: curve for seed, curve in baseline.items() if math.isfinite(curve[-1][1])}
    found = {
        label: convergence(by_seed, ends)
        for label, by_seed in curves.items()
        if label != results.baseline and by_seed.keys() & ends.keys()
    }
    effective = {label: _effective(each, measured[label]) for label, each in found.items()}
    return Budgets(
        metric=metric,
        points=min(len(curve) for by_seed in curves.values() for curve in by_seed.values()),
        readings=readings,
        interleaved=any(measured.values()),
        convergence=found,
        effective={label: each for label, each in effective.items() if each},
        span=_span(results, metric),
    )


def _span(results: Results, metric: str) -> float:
    if not metric.startswith(TRAINING):
        return 0.0
    steps = min(outcome.result["steps"] for outcome in results.finished if metric in outcome.curve)
    decay = metric.removeprefix(TRAINING)  # `99` of 0.99
    return 1 / (1 - float(decay if "e" in decay else f"0.{decay}")) / steps


def _in_tokens(outcome: Outcome, metric: str) -> Curve | None:
    """A run's curve to its very end; None if it has no two points, or its tokens are unknown."""
    tokens, steps = outcome.result.get("tokens"), outcome.result.get("steps")
    if not (tokens and steps):
        return None
    points = [(step * tokens / steps, loss) for step, loss in outcome.curve.get(metric, ())]
    return points if len(points) > 1 and math.isclose(points[-1][0], tokens) else None


def _ratios(results: Results, costs: Costs) -> Iterator[tuple[str, dict[str, dict[int, float]]]]:
    """What is equal, and the cost of a token of every row over the baseline's, by seed; 1 of equal tokens."""

    def same(ratio: Mapping[str, float | None]) -> dict[str, dict[int, float]]:
        known = {label: 1.0 if label == results.baseline else value for label, value in ratio.items()}
        return {
            label: dict.fromkeys((run.seed for run in results.runs(label)), value) if value else {}
            for label, value in known.items()
        }

    yield TOKENS, same(dict.fromkeys(results.labels, 1.0))
    base = costs.baseline.predicted
    if base:
        yield (
            FLOPS,
            same(
                {
                    row.label: row.predicted.flops.training / base.flops.training if row.predicted else None
                    for row in costs.rows
                }
            ),
        )
    if any(row.measured for row in costs.rows):
        yield TIME, same({row.label: row.measured.step if row.measured else None for row in costs.rows})
    elif SECONDS in results.metrics:
        yield TIME, {label: _of_runs(results, label) for label in results.labels}


def _of_runs(results: Results, label: str) -> dict[int, float]:
    """Seconds a token over those of the baseline's run under the same seed."""

    def seconds(label: str) -> dict[int, float]:
        own = results.values(label, SECONDS)
        runs = {run.seed: run.result.get("tokens") for run in results.runs(label)}
        return {seed: own[seed] / tokens for seed, tokens in runs.items() if tokens and own.get(seed)}

    baseline = seconds(results.baseline)
    return {seed: own / baseline[seed] for seed, own in seconds(label).items() if seed in baseline}


def _at(curves: Mapping[int, Curve], baseline: Mapping[int, Curve], ratios: Mapping[int, float]) -> AtBudget:
    shares, baseline_shares, values, against = {}, {}, {}, {}
    for seed in sorted(curves.keys() & baseline.keys() & ratios.keys()):
        ratio, total, baseline_total = ratios[seed], curves[seed][-1][0], baseline[seed][-1][0]
        # In tokens of the baseline, which cost 1 each.
        spent = min(baseline_total, ratio * total)
        shares[seed], baseline_shares[seed] = spent / ratio / total, spent / baseline_total
        own, other = read_at(curves[seed], spent / ratio), read_at(baseline[seed], spent)
        values |= {} if own is None else {seed: own}
        against |= {} if other is None else {seed: other}
    return AtBudget(
        cost=estimate(list(ratios.values())),
        read=estimate(list(shares.values())),
        baseline_read=estimate(list(baseline_shares.values())),
        value=estimate(list(values.values())),
        difference=None if curves is baseline else paired_difference(values, against),
    )


def _timed(
    at: AtBudget, curves: Mapping[int, Curve], baseline: Mapping[int, Curve], measured: StepTiming | None
) -> AtBudget:
    """The same with the clock's own uncertainty in the interval of the difference.

    Where the steps were timed in turn it is what the loss would be at the ends of the ratio's 95 % interval. What the
    runs took by themselves has no known uncertainty: then there is no interval, and no verdict.
    """
    if at.difference is None or at.difference.half_width is None:
        return at
    if measured is None:
        return replace(at, difference=replace(at.difference, half_width=None, deviation=None))
    ends = [
        _at(curves, baseline, dict.fromkeys(curves, measured.step + side * measured.step_uncertainty)).difference
        for side in (-1, 1)
    ]
    if None in ends:
        return replace(at, difference=replace(at.difference, half_width=None, deviation=None))
    clock = abs(ends[1].mean - ends[0].mean) / 2
    return replace(at, difference=replace(at.difference, half_width=math.hypot(at.difference.half_width, clock)))


def _effective(found: Convergence, timing: StepTiming | None) -> Estimate | None:
    ratio = found.mean
    if ratio is None or timing is None:
        return None
    clock = timing.step_uncertainty / timing.step  # relative, of the ratio of times and so of its reciprocal
    half = None if ratio.half_width is None else math.hypot(ratio.half_width, ratio.mean * clock) / timing.step
    return replace(ratio, mean=ratio.mean / timing.step, half_width=half, deviation=None)
