"""What a sweep set out to compare, tested together; and the order of its rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hcexp.analysis.statistics import CONFIDENCE, Estimate, estimate, holm, paired_difference
from hcexp.report.results import Results


@dataclass(frozen=True)
class Contrast:
    """A row against another, by their `difference`, paired by seed.

    `p` is that of the paired t-test, `corrected` the same after Holm over all comparisons of the sweep; None where
    fewer than two seeds are shared.
    """

    row: str
    against: str
    difference: Estimate | None
    p: float | None
    corrected: float | None

    @property
    def told_apart(self) -> bool | None:
        """None if no test can be made."""
        return None if self.corrected is None else self.corrected < 1 - CONFIDENCE


def contrasts(results: Results, metric: str) -> tuple[Contrast, ...]:
    """The contrasts that the sweep's file names, then every row against the baseline; corrected together."""
    baseline = results.baseline
    planned = dict.fromkeys(results.sweep.contrasts)
    planned |= dict.fromkeys((label, baseline) for label in results.labels if label != baseline)
    differences = {(row, against): results.difference(row, metric, against) for row, against in planned}
    tested = {pair: found.p_value for pair, found in differences.items() if found and found.p_value is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return tuple(
        Contrast(*pair, difference, tested.get(pair), corrected.get(pair)) for pair, difference in differences.items()
    )


def order(results: Results, metric: str) -> dict[str, float]:
    """The rows with a finite mean, the lowest first, each with the number that orders them; see `levels`."""
    found = levels(results.baseline, {label: results.values(label, metric) for label in results.labels})
    return dict(sorted(found.items(), key=lambda each: each[1]))


def levels(baseline: str, values: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """The number by label that orders the rows with a finite mean; `values` are by label and seed.

    It is the baseline's mean plus the mean difference to it, paired by seed, so that a row that lacks a seed neither
    gains nor loses by it. Without a seed of the baseline, or where one of it diverged, it is the row's mean.
    """
    means = {label: estimate(list(by_seed.values())) for label, by_seed in values.items()}
    finite = {label: found.mean for label, found in means.items() if found and math.isfinite(found.mean)}
    if baseline not in finite:
        return finite
    differences = {label: paired_difference(values[label], values[baseline]) for label in finite}
    return {
        label: finite[baseline] + difference.mean if (difference := differences[label]) else finite[label]
        for label in finite
    }
