import math

import pandas as pd
import pytest

from hcexp.analysis.convergence import (
    Summary,
    caveat,
    convergence,
    convergence_ratio,
    in_words,
    ratios,
    tokens_to_reach,
)
from hcexp.analysis.tables import frame
from hcexp.configuration import compose

BASELINE = [(100, 5.0), (200, 4.0), (300, 3.5), (400, 3.0)]


@pytest.mark.parametrize(
    "curve, loss, tokens",
    [
        ([(100, 5.0), (300, 3.0)], 4.5, 150),  # on the straight line between two points
        ([(10, 5.0), (20, 3.0), (30, 4.0), (40, 2.0)], 3.0, 20),  # the first time, even if the loss rises again
        ([(10, 1.0), (20, 0.5)], 3.0, 10),  # there already where the curve begins
        ([(10, 5.0), (15, math.nan), (20, 3.0)], 4.0, 15),  # what is not finite is left out
        ([(10, -math.inf), (20, 3.0)], 4.0, 20),
    ],
)
def test_tokens_to_reach(curve, loss, tokens):
    assert tokens_to_reach(curve, loss) == pytest.approx(tokens)


@pytest.mark.parametrize(
    "variant, ratio",
    [
        ([(100, 4.0), (200, 3.0), (400, 2.0)], 2),  # there at half the tokens
        ([(100, 4.0), (200, 2.0)], 400 / 150),
        ([(400, 3.5), (800, 3.0)], 0.5),
        (BASELINE, 1),
        *((never, None) for never in ([], [(100, 4.0), (400, 3.01)], [(100, math.nan)])),
    ],
)
def test_a_variant_that_is_there_at_half_the_tokens_is_twice_as_fast(variant, ratio):
    assert convergence_ratio(variant, BASELINE) == (ratio and pytest.approx(ratio))


def test_a_baseline_that_goes_up_and_down_has_a_ratio_above_1_with_itself():
    noisy = [*BASELINE[:2], (250, 2.9), *BASELINE[2:]]
    assert convergence_ratio(noisy, noisy) > 1


def test_a_ratio_is_a_lower_bound_where_the_curve_begins_below():
    below, at, above = [(200, 2.5), (400, 2.0)], [(200, 3.0), (400, 2.0)], [(100, 3.5), (200, 2.5)]
    late = [(100, math.nan), (200, 2.5)]
    found = convergence({0: below, 1: at, 2: above, 3: late, 4: [(400, 3.5)]}, dict.fromkeys(range(5), BASELINE))
    assert found.ratios == {0: 2, 1: 2, 2: pytest.approx(400 / 150), 3: 2} and found.not_reached == (4,)
    assert found.at_least == (0, 3)


@pytest.mark.parametrize("baseline", [[], [(100, math.nan)], [(100, 3.0), (200, math.inf)]])
def test_a_baseline_without_a_final_loss_is_refused(baseline):
    with pytest.raises(ValueError, match="no final loss"):
        convergence_ratio(BASELINE, baseline)


def test_seeds_are_paired():
    faster, never, higher = [(100, 4.0), (200, 3.0)], [(100, 4.0), (200, 3.9)], [(100, 5.0), (400, 3.9)]
    found = convergence({0: faster, 1: never, 2: never, 7: faster}, {0: BASELINE, 1: BASELINE, 2: higher, 9: BASELINE})
    assert found.ratios == {0: 2, 2: 2} and found.not_reached == (1,)


def loss(*values, metric="train/loss_ema99", every=1):
    rows = [(metric, every * step, 64 * every * step, value) for step, value in enumerate(values, 1)]
    return frame("curves", rows)


BASE, V3, OF = loss(5, 4, 3, 2), "v3/mean/loss", ("b", "a", "train/loss_ema99")


def test_ratios_are_paired_by_seed_and_have_a_students_interval():
    variant = {0: loss(3, 2, 1, 1), 1: loss(4, 3, 2, 1), 7: loss(1, 1)}
    every, (mean,) = ratios({"a": {0: BASE, 1: BASE}, "b": variant})
    assert [(r.seed, r.ratio) for r in every] == [(0, 2.0), (1, pytest.approx(4 / 3))]
    assert mean[:5] == (*OF, 2, 2) and mean.ratio == pytest.approx(5 / 3)
    assert mean.half_width == pytest.approx(12.7062 * (1 / 3))  # t(0.975, 1) times the deviation 0.4714 over √2
    words = "convergence ratio of b over a, train/loss_ema99: 1.67× ± 4.24 (95 %, 2 seeds)"
    assert in_words(mean) == words


SUMMED = {
    "one seed has no interval": ({0: loss(3, 2)}, Summary(*OF, 1, 1, 2.0, None), "2.00×"),
    "a seed does not get there": (
        {0: loss(3, 2), 1: loss(3, 3)},
        Summary(*OF, 2, 1, None, None),
        "not reached by 1 of 2 seeds",
    ),
    "a curve begins below": (
        {0: loss(1, 1, every=2), 1: loss(4, 3, 2, 1)},
        Summary(*OF, 2, 2, None, None, pytest.approx(5 / 3)),
        "≥ 1.67×, for it was below that loss at the first point of its curve",
    ),
    "the end alone was measured, of another": (
        {0: pd.concat([loss(3, 2, 1, 1), loss(1, metric=V3, every=4)])},
        Summary(*OF, 1, 1, 2.0, None),
        "2.00×",
    ),
}


@pytest.mark.parametrize(("variant", "expected", "said"), SUMMED.values(), ids=SUMMED)
def test_a_mean_is_given_where_all_seeds_get_there_and_said_in_words(variant, expected, said):
    _, (mean,) = ratios({"a": dict.fromkeys((0, 1), pd.concat([BASE, loss(5, 4, 3, 2, metric=V3)])), "b": variant})
    assert mean == expected and in_words(mean).endswith(f"loss_ema99: {said}")


def test_validation_counts_where_both_measured_it_on_the_way():
    runs = {"a": {0: loss(3, 2, metric=V3)}, "b": {0: loss(2, 1, metric=V3)}, "c": {0: loss(1, metric="v2/mean/loss")}}
    assert [(one.variant, one.metric, one.ratio) for one in ratios(runs)[1]] == [("b", V3, 2.0)]


@pytest.mark.parametrize(
    ("base", "variant"), [({0: loss()}, {0: BASE}), ({0: BASE}, {1: BASE}), ({0: loss(2)}, {0: BASE})]
)
def test_runs_without_curves_or_without_a_seed_in_common_have_none(base, variant):
    assert ratios({"a": base, "b": variant}) == ([], [])


def test_a_decayed_schedule_speaks_against_the_ratios():
    said = caveat(compose(["paths.cache=x"]))
    assert said.startswith("These ratios are biased against the variants: ") and said.count(". ") == 0
    assert "(cosine to 10 % of its peak)" in said
    assert caveat(compose(["paths.cache=x", "schedule=constant"])) == ""
