"""Seeds to numbers: mean and interval, paired difference and its test, noise, rank correlation.

Intervals are 95 % Student-t intervals: with a handful of seeds the normal one would be far too narrow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
# Relative to the size of two losses, what they differ by in the last digits of a float64 is nothing.
ROUNDING = 1e-12
# Up to so many rows every order of them is tried: 9! are 362,880, and a table of the paper has at most 9 rows.
EXACT = 9


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, in the unit of its values.

    `half_width` is that of the 95 % interval, and `deviation` the sample standard deviation (n - 1); both
    are None with fewer than two values, or with one that is not finite. `count` is the number of values.
    """

    mean: float
    half_width: float | None
    deviation: float | None
    count: int

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the interval excludes 0; None if there is no interval."""
        return None if self.half_width is None else abs(self.mean) > self.half_width

    @property
    def p_value(self) -> float | None:
        """Of the two-sided t-test that the mean is 0: below 0.05 where the interval excludes 0; None without one."""
        if self.deviation is None:
            return None
        if self.deviation == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) * math.sqrt(self.count) / self.deviation, self.count - 1))


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's `rho` over `count` rows, and the two-sided `p` of one so large in size were all orders alike.

    `exact`: by trying every order of the rows, else by the t approximation.
    """

    rho: float
    p: float
    count: int
    exact: bool


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and t interval of `values`; None of nothing.

    A value that is not finite makes the mean NaN: a run that diverged must not look like one that was not
    there. Values that are all the same have a deviation of exactly 0.
    """
    count = len(values)
    if not count:
        return None
    if not all(math.isfinite(value) for value in values):
        return Estimate(math.nan, None, None, count)
    if count == 1:
        return Estimate(float(values[0]), None, None, 1)
    if len(set(values)) == 1:  # a sum of three divided by three need not be the value again
        return Estimate(float(values[0]), 0.0, 0.0, count)
    mean = float(np.mean(values))
    deviation = float(np.std(values, ddof=1))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Estimate(mean, quantile * deviation / math.sqrt(count), deviation, count)


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Estimate | None:
    """Of `values - baseline`, taken seed by seed over the seeds that both have.

    Under one seed both runs start from the same weights and see the same batches, so what they share
    cancels, and the interval is narrower than that of a difference of means. Differences that rounding alone makes
    are 0, and those that it alone tells apart are the same: else a t-test would find meaning in its last digits.
    """
    pairs = [(values[seed], baseline[seed]) for seed in sorted(values.keys() & baseline.keys())]
    differences = [value - other for value, other in pairs]
    if differences and all(map(math.isfinite, differences)):
        rounding = ROUNDING * max(abs(each) for pair in pairs for each in pair)
        if all(abs(each) <= rounding for each in differences):
            differences = [0.0] * len(differences)
        elif max(differences) - min(differences) <= rounding:
            differences = [differences[0]] * len(differences)
    return estimate(differences)


def noise_floor(deviation: float) -> float:
    """Standard deviation of the difference of two independent runs of deviation `deviation` each."""
    return math.sqrt(2) * deviation


def same_sign(measured: float, printed: float) -> bool | None:
    """Whether two differences point the same way; None if the printed one has no direction."""
    if printed == 0 or not math.isfinite(measured):
        return None
    return measured != 0 and (measured > 0) == (printed > 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for being several, by Holm's step-down procedure (1979), in the order given."""
    ascending = sorted(range(len(p_values)), key=lambda at: p_values[at])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(ascending):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> RankCorrelation | None:
    """Spearman's, of (measured, printed); None for fewer than four pairs or where one side is constant."""
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(pairs) < 4 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    measured, printed = (stats.rankdata(side) for side in zip(*pairs, strict=True))
    found = stats.spearmanr(measured, printed)
    exact = len(pairs) <= EXACT
    p = _permutation_p(tuple(measured), tuple(printed)) if exact else float(found.pvalue)
    return RankCorrelation(float(found.statistic), p, len(pairs), exact)


@cache
def _permutation_p(measured: tuple[float, ...], printed: tuple[float, ...]) -> float:
    """Two-sided, over all orders of one side."""
    centred = np.subtract(printed, np.mean(printed))

    def size(ranks: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(np.sum((ranks - ranks.mean(axis=axis, keepdims=True)) * centred, axis=axis))

    found = stats.permutation_test(
        (measured,),
        size,
        permutation_type="pairings",
        alternative="greater",
        vectorized=True,
        n_resamples=math.inf,
        batch=10_000,
    )
    return float(found.pvalue)
