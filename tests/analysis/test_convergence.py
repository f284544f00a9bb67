import math

import pytest

from hcexp.analysis.convergence import convergence, convergence_ratio, tokens_to_reach

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
