import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from hcexp.analysis.statistics import estimate, holm, noise_floor, paired_difference, rank_correlation, same_sign


def test_the_interval_is_student_s_and_in_closed_form_for_two_values():
    # With one degree of freedom t is Cauchy: its quantile at 0.975 is tan(0.475 π), and s/√2 = |a - b| / 2.
    assert estimate([1.0, 4.0]).half_width == pytest.approx(math.tan(0.475 * math.pi) * 1.5)
    for values in ([1.0, 2.0, 6.0], [2.5, -1.0, 3.25, 8.0]):
        found, test = estimate(values), stats.ttest_1samp(values, 0.0)
        low, high = test.confidence_interval(0.95)
        assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
        assert found.p_value == pytest.approx(test.pvalue) and found.deviation == pytest.approx(stats.tstd(values))


def test_one_value_has_no_interval_and_what_is_not_finite_is_not_averaged_away():
    found = estimate([3.0])
    assert (found.mean, found.half_width, found.deviation, found.count) == (3.0, None, None, 1)
    assert found.beyond_noise is None and found.p_value is None and estimate([]) is None
    for bad in (math.nan, math.inf):
        found = estimate([1.0, bad, 2.0])
        assert math.isnan(found.mean) and found.half_width is None and found.count == 3 and found.p_value is None


@pytest.mark.parametrize("value", [1.001953125e-3, 0.1, 1.1, 1.0052083333333333, 4.15])
def test_values_that_are_all_the_same_have_no_deviation_at_all(value):
    for count in (2, 3, 7):
        found = estimate([value] * count)
        assert (found.mean, found.deviation, found.half_width) == (value, 0.0, 0.0)
        assert found.beyond_noise and found.p_value == 0
    assert estimate([0.0, 0.0]).p_value == 1 and not estimate([0.0, 0.0]).beyond_noise


def test_what_rounding_alone_makes_of_a_difference_is_none():
    # 0.1 + 0.2 is the next float64 after 0.3, and 4.4 - 4.1 another 0.3 than 4.3 - 4.0.
    for values in ([0.1 + 0.2] * 3, [0.1 + 0.2, 0.3, 0.1 + 0.2]):
        found = paired_difference(dict(enumerate(values)), dict.fromkeys(range(3), 0.3))
        assert (found.mean, found.p_value, found.beyond_noise) == (0.0, 1.0, False)
    assert 4.3 - 4.0 != 4.4 - 4.1
    shifted = paired_difference({0: 4.3, 1: 4.4}, {0: 4.0, 1: 4.1})
    assert shifted.mean == pytest.approx(0.3) and shifted.deviation == 0.0
    small = paired_difference({0: 4.0 + 1e-9, 1: 4.1 + 3e-9}, {0: 4.0, 1: 4.1})
    assert small.mean == pytest.approx(2e-9, rel=1e-4) and small.deviation == pytest.approx(math.sqrt(2) * 1e-9, 1e-4)


def test_a_difference_is_paired_by_the_seeds_that_both_have():
    values, baseline = {0: 3.1, 1: 3.4, 2: 3.2, 5: 3.3, 7: 9.0}, {5: 3.1, 0: 3.0, 1: 3.2, 2: 3.25, 6: -50.0}
    shared = [0, 1, 2, 5]
    expected = stats.ttest_rel([values[seed] for seed in shared], [baseline[seed] for seed in shared])
    found = paired_difference(values, baseline)
    low, high = expected.confidence_interval(0.95)
    assert found.count == 4 and found.p_value == pytest.approx(expected.pvalue)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    # What the seeds share cancels.
    alike = paired_difference({0: 3.75, 1: 4.75, 2: 8.75}, {0: 4.0, 1: 5.0, 2: 9.0})
    assert (alike.mean, alike.half_width) == (-0.25, 0.0)
    assert [estimate(each).beyond_noise for each in ([-1.0, -1.01, -0.99], [-1.0, 1.2, -0.99])] == [True, False]


def test_noise_floor_is_the_deviation_of_a_difference():
    # Var(x - y) = 2 s² over all ordered pairs of independent draws from {-1, 1}.
    draws = [x - y for x in (-1, 1) for y in (-1, 1)]
    assert noise_floor(1.0) == pytest.approx(math.sqrt(sum(d * d for d in draws) / len(draws)))


def test_same_sign():
    cases = [
        (-0.1, -2, True),
        (0.1, 2, True),
        (0.1, -2, False),
        (0.0, -2, False),
        (0.1, 0.0, None),
        (math.nan, -2, None),
    ]
    assert [same_sign(measured, paper) for measured, paper, _ in cases] == [said for *_, said in cases]


def test_rank_correlation_needs_four_finite_rows_that_differ():
    assert rank_correlation([(1, 1), (2, 2), (3, 3), (math.nan, 4)]) is None
    assert rank_correlation([(1, 1), (1, 2), (1, 3), (1, 4)]) is None
    assert rank_correlation([(4, 1), (3, 2), (2, 3), (1, 4)]).rho == pytest.approx(-1)


@pytest.mark.parametrize("measured", [[1.0, 5.0, 2.0, 9.0, 3.0], [1.0, 1.0, 2.0, 4.0, 3.0]], ids=["", "with ties"])
def test_the_p_of_a_rank_correlation_counts_every_order(measured):
    paper = [2.0, 1.0, 2.0, 5.0, 6.0]
    found = rank_correlation(list(zip(measured, paper, strict=True)))
    every = [stats.spearmanr(order, paper).statistic for order in permutations(measured)]
    assert found.rho == pytest.approx(stats.spearmanr(measured, paper).statistic) and found.exact and found.count == 5
    assert found.p == pytest.approx(np.mean(np.abs(every) >= abs(found.rho) - 1e-12))
    # Of the 24 orders of four rows, two have a correlation of size 1.
    assert rank_correlation([(1, 1), (2, 2), (3, 3), (4, 4)]).p == pytest.approx(2 / 24)


def test_many_rows_have_the_p_of_the_t_approximation():
    pairs = [(float(index), math.sin(index)) for index in range(12)]
    found = rank_correlation(pairs)
    assert not found.exact and found.p == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).pvalue)


def test_holm_by_hand():
    # Ascending 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 gives 0.04, 0.06, 0.06, 0.04, of which the running maximum.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []
