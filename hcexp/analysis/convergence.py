"""How much sooner a variant is where the baseline ends: the paper's "converges 1.8× faster" (Figure 1)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from hcexp.analysis.curves import Runs, averages, curve, mean_metrics, together
from hcexp.analysis.statistics import Estimate, estimate
from hcexp.run.describe import decay

Curve = Sequence[tuple[float, float]]  # (tokens, loss), in the order of the tokens


class Convergence(NamedTuple):
    """Convergence ratios of a variant, paired by seed.

    ratios: by seed, tokens of the baseline over tokens at which the variant first has the baseline's final loss.
    not_reached: the seeds whose variant never has it; a mean over the others alone would flatter the variant.
    at_least: those of the ratios that are lower bounds. At its first point the variant is below that loss already, and
        when it had it nobody saw.
    """

    ratios: dict[int, float]
    not_reached: tuple[int, ...]
    at_least: tuple[int, ...] = ()

    @property
    def mean(self) -> Estimate | None:
        """Over the seeds; None where one never has that loss, and without an interval where one is a lower bound."""
        mean = None if self.not_reached else estimate(list(self.ratios.values()))
        return replace(mean, half_width=None, deviation=None) if mean and self.at_least else mean


class Ratio(NamedTuple):
    """The convergence ratio of a variant's seed, of the loss `metric`. It is in `at_least` if the variant was already
    below the baseline's loss where its curve begins, and was there sooner still; both are empty if it never was.
    """

    variant: str
    baseline: str
    metric: str
    seed: int
    ratio: float | None
    at_least: float | None = None


class Summary(NamedTuple):
    """The mean of these ratios over `seeds`, and the half width of its 95 % Student interval; both empty unless all
    seeds reached the baseline's loss, the latter also for a single one. If one of them is a lower bound, so is their
    mean: it is in `at_least`, without an interval.
    """

    variant: str
    baseline: str
    metric: str
    seeds: int
    reached: int
    ratio: float | None
    half_width: float | None
    at_least: float | None = None

    @property
    def words(self) -> str:
        """`1.52× ± 0.10`, `≥ 1.75×`, `not reached by 1 of 2 seeds`."""
        if self.reached < self.seeds:
            return "not reached" + (f" by {self.seeds - self.reached} of {self.seeds} seeds" if self.seeds > 1 else "")
        if self.at_least is not None:
            return f"≥ {self.at_least:.2f}×"
        return f"{self.ratio:.2f}×" + (f" ± {self.half_width:.2f}" if self.half_width is not None else "")


def convergence(variant: Mapping[int, Curve], baseline: Mapping[int, Curve]) -> Convergence:
    """The ratios of the seeds that both have, from their loss curves by seed; see `convergence_ratio`."""
    ratios = {seed: convergence_ratio(variant[seed], baseline[seed]) for seed in sorted(variant.keys() & baseline)}
    return Convergence(
        {seed: ratio for seed, ratio in ratios.items() if ratio is not None},
        tuple(seed for seed, ratio in ratios.items() if ratio is None),
        tuple(seed for seed, ratio in ratios.items() if ratio and _begins_below(variant[seed], baseline[seed][-1][1])),
    )


def convergence_ratio(variant: Curve, baseline: Curve) -> float | None:
    """Tokens that the baseline was trained on, over those at which the variant first has the baseline's final loss.

    Above 1 the variant is faster. None if it never has that loss, in the tokens that it was trained on. Both curves are
    of the same loss: validation losses, or training losses smoothed alike. A curve that goes up and down reaches its
    own final loss before its end, and so has a ratio above 1 with itself: that much is noise. If the variant's first
    point is below that loss already, the ratio is a lower bound: see `Convergence.at_least`.

    Raises ValueError for a baseline without a point, or whose last loss is not finite.
    """
    if not baseline or not math.isfinite(baseline[-1][1]):
        raise ValueError("the baseline has no final loss that a variant could reach")
    tokens, loss = baseline[-1]
    reached = tokens_to_reach(variant, loss)
    return tokens / reached if reached else None


def tokens_to_reach(curve: Curve, loss: float) -> float | None:
    """Tokens at which the curve is first at `loss` or below, between two of its points on the straight line.

    Points that are not finite are left out. None if the curve stays above; its first point, and so more tokens than it
    took, if that is below already.
    """
    before: tuple[float, float] | None = None
    for tokens, value in curve:
        if not math.isfinite(value):
            continue
        if value <= loss:
            if before is None:
                return tokens
            return before[0] + (tokens - before[0]) * (before[1] - loss) / (before[1] - value)
        before = tokens, value
    return None


def _begins_below(curve: Curve, loss: float) -> bool:
    return next((value < loss for _, value in curve if math.isfinite(value)), False)


def ratios(runs: Runs) -> tuple[list[Ratio], list[Summary]]:
    """The convergence ratios of every run with the first, from their curves by label and seed; paired by seed.

    Of the averaged training loss, and of every mean validation loss that both measured while they trained: what was
    measured but once, at the end, does not say when a run got there.
    """
    baseline, *variants = runs
    points = together(runs)
    every, summed = [], []
    for metric in (*averages(points), *(metric for metric in mean_metrics(points) if metric.endswith("/loss"))):
        ends = _curves(runs[baseline], metric)
        for variant in variants:
            found = convergence(_curves(runs[variant], metric), ends)
            of = (variant, baseline, metric)
            for seed, ratio in found.ratios.items():
                every.append(Ratio(*of, seed, *((None, ratio) if seed in found.at_least else (ratio, None))))
            every += [Ratio(*of, seed, None) for seed in found.not_reached]
            if found.ratios or found.not_reached:
                summed.append(summary(*of, found))
    return every, summed


def summary(variant: str, baseline: str, metric: str, found: Convergence) -> Summary:
    """These ratios as one."""
    mean, both = found.mean, (None, None)
    if mean:
        both = (None, None, mean.mean) if found.at_least else (mean.mean, mean.half_width)
    return Summary(variant, baseline, metric, len(found.ratios) + len(found.not_reached), len(found.ratios), *both)


def in_words(summary: Summary) -> str:
    """`convergence ratio of dhc n=4 over pre_norm, v3/mean/loss: 1.52× ± 0.10 (95 %, 3 seeds)`."""
    of = f"convergence ratio of {summary.variant} over {summary.baseline}, {summary.metric}"
    more = f" (95 %, {summary.seeds} seeds)" if summary.half_width is not None else ""
    if summary.at_least is not None:
        more = ", for it was below that loss at the first point of its curve"
    return f"{of}: {summary.words}{more}"


def caveat(config: Mapping[str, Any]) -> str:
    """What speaks against the ratios, in a sentence, from the baseline's configuration; nothing if its learning rate
    stays.
    """
    if not (to := decay(config)):
        return ""
    return (
        "These ratios are biased against the variants: the baseline is taken at its end, where its learning rate has "
        f"decayed ({to} of its peak), and a variant before its end, where it has not yet."
    )


def _curves(seeds: Mapping[int, pd.DataFrame], metric: str) -> dict[int, list[tuple[int, float]]]:
    """The curves of those seeds that have more than an end."""
    curves = {seed: curve(points, metric) for seed, points in seeds.items()}
    return {seed: points for seed, points in curves.items() if len(points) > 1}
