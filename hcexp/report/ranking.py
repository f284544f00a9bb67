"""The order of the rows, and which neighbours in it the seeds cannot tell apart."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hcexp.report.statistics import CONFIDENCE, Estimate, estimate, holm, paired_difference


@dataclass(frozen=True)
class Ranked:
    """One row in the order.

    `difference` is to the baseline, and `behind` by how much the next row is worse, both paired by seed; None of the
    baseline itself, and for the last.

    `p` is that of the paired t-test between the two, `corrected` the same after Holm over all pairs of neighbours; both
    are None where fewer than two seeds are shared.
    """

    label: str
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
    """Of the rows by their mean difference to the baseline, paired by seed, so that a row that lacks a seed neither
    gains nor loses by it; without a seed of the baseline, or where one of it diverged, by their means. `values` are by
    label and seed.
    """
    means = {label: estimate(list(by_seed.values())) for label, by_seed in values.items()}
    finite = [label for label, found in means.items() if found and math.isfinite(found.mean)]
    reference = values[baseline] if baseline in finite else {}
    differences = {label: paired_difference(values[label], reference) for label in finite}
    level = means[baseline].mean if baseline in finite else 0.0

    def place(label: str) -> float:
        return level + differences[label].mean if differences[label] else means[label].mean

    order = sorted(finite, key=place)
    behind = [paired_difference(values[b], values[a]) for a, b in zip(order, order[1:], strict=False)]
    p_values = [each.p_value if each else None for each in behind]
    corrected = iter(holm([p for p in p_values if p is not None]))
    rows = [
        Ranked(
            label=label,
            value=means[label],
            difference=None if label == baseline else differences[label],
            behind=next_behind,
            p=p,
            corrected=None if p is None else next(corrected),
        )
        for label, next_behind, p in zip(order, [*behind, None], [*p_values, None], strict=False)
    ]
    return Ranking(metric, tuple(rows))
