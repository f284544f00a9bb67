"""The order of the rows, and which neighbours in it the seeds cannot tell apart."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hcexp.report.statistics import CONFIDENCE, Estimate, estimate, holm, paired_difference


@dataclass(frozen=True)
class Ranked:
    """One row in the order, which is that of `level`, see `levels`.

    `difference` is to the baseline, and `behind` by how much the next row is worse, both paired by seed; None of the
    baseline itself, and for the last.

    `p` is that of the paired t-test between the two, `corrected` the same after Holm over all pairs of neighbours; both
    are None where fewer than two seeds are shared.
    """

    label: str
    level: float
    value: Estimate
    difference: Estimate | None
    behind: Estimate | None
    p: float | None
    corrected: float | None

    @property
    def separated(self) -> bool | None:
        """Whether the next row can be told apart; None if no test can be made."""
        return None if self.corrected is None else self.corrected < 1 - CONFIDENCE


@dataclass(frozen=True)
class Ranking:
    """Of a metric of which less is better, the best row first. Rows without a finite mean are left out."""

    metric: str
    rows: tuple[Ranked, ...]

    @property
    def tested(self) -> int:
        """How many pairs of neighbours could be tested."""
        return sum(row.p is not None for row in self.rows)


def ranking(metric: str, baseline: str, values: Mapping[str, Mapping[int, float]]) -> Ranking:
    """Of the rows by their levels; `values` are by label and seed."""
    found = levels(baseline, values)
    order = sorted(found, key=found.__getitem__)
    reference = values[baseline] if baseline in found else {}
    behind = [paired_difference(values[b], values[a]) for a, b in zip(order, order[1:], strict=False)]
    p_values = [each.p_value if each else None for each in behind]
    corrected = iter(holm([p for p in p_values if p is not None]))
    rows = [
        Ranked(
            label=label,
            level=found[label],
            value=estimate(list(values[label].values())),
            difference=None if label == baseline else paired_difference(values[label], reference),
            behind=next_behind,
            p=p,
            corrected=None if p is None else next(corrected),
        )
        for label, next_behind, p in zip(order, [*behind, None], [*p_values, None], strict=False)
    ]
    return Ranking(metric, tuple(rows))


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
