import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from hcexp.report.statistics import estimate, holm, noise_floor, paired_difference, rank_correlation, same_sign


def test_interval_of_two_values_in_closed_form():
    # With one degree of freedom t is Cauchy: its quantile at 0.975 is tan(0.475 π), and s/√2 = |a - b| / 2.
    found = estimate([1.0, 4.0])
    assert found.mean == 2.5 and found.count == 2
    assert found.deviation == pytest.approx(3 / math.sqrt(2))
    assert found.half_width == pytest.approx(math.tan(0.475 * math.pi) * 1.5)


def test_interval_of_three_values_in_closed_form():
    # With two degrees of freedom t(p) = (2p - 1) √(2 / (4 p (1 - p))).
    p = 0.975
    quantile = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    found = estimate([1.0, 2.0, 6.0])
    assert found.deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert found.half_width == pytest.approx(quantile * math.sqrt(7) / math.sqrt(3))


def test_one_value_has_no_interval_and_none_is_nothing():
    found = estimate([3.0])
    assert (found.mean, found.half_width, found.deviation, found.count) == (3.0, None, None, 1)
    assert found.beyond_noise is None
    assert estimate([]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_not_averaged_away(bad):
    found = estimate([1.0, bad, 2.0])
    assert math.isnan(found.mean) and found.half_width is None and found.count == 3


@pytest.mark.parametrize("value", [1.001953125e-3, 0.1, 1.1, 1.0052083333333333, 4.15])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_values_that_are_all_the_same_have_no_deviation_at_all(value, count):
    found = estimate([value] * count)
    assert (found.mean, found.deviation, found.half_width) == (value, 0.0, 0.0)


def test_what_rounding_alone_makes_of_a_difference_is_none():
    # 0.1 + 0.2 is the next float64 after 0.3, and 4.4 - 4.1 another 0.3 than 4.3 - 4.0.
    same = paired_difference({0: 0.1 + 0.2, 1: 0.1 + 0.2, 2: 0.1 + 0.2}, {0: 0.3, 1: 0.3, 2: 0.3})
    assert (same.mean, same.deviation, same.p_value, same.beyond_noise) == (0.0, 0.0, 1.0, False)
    some = paired_difference({0: 0.1 + 0.2, 1: 0.3, 2: 0.1 + 0.2}, {0: 0.3, 1: 0.3, 2: 0.3})
    assert (some.mean, some.p_value, some.beyond_noise) == (0.0, 1.0, False)
    assert 4.3 - 4.0 != 4.4 - 4.1
    shifted = paired_difference({0: 4.3, 1: 4.4}, {0: 4.0, 1: 4.1})
    assert shifted.mean == pytest.approx(0.3) and shifted.deviation == 0.0
    small = paired_difference({0: 4.0 + 1e-9, 1: 4.1 + 3e-9}, {0: 4.0, 1: 4.1})
    assert small.mean == pytest.approx(2e-9, rel=1e-4) and small.deviation == pytest.approx(math.sqrt(2) * 1e-9, 1e-4)


def test_beyond_noise_is_that_the_interval_excludes_zero():
    assert estimate([-1.0, -1.01, -0.99]).beyond_noise is True
    assert estimate([-1.0, 1.2, -0.99]).beyond_noise is False
    assert estimate([0.0, 0.0]).beyond_noise is False
    assert estimate([0.5, 0.5]).beyond_noise is True


def test_pairing_takes_out_what_the_seeds_share():
    baseline = {0: 4.0, 1: 5.0, 2: 9.0}
    shifted = {seed: value - 0.25 for seed, value in baseline.items()}
    found = paired_difference(shifted, baseline)
    assert found.mean == pytest.approx(-0.25) and found.half_width == pytest.approx(0, abs=1e-12)
    assert estimate(list(shifted.values())).half_width > 1


def test_pairing_uses_the_seeds_that_both_have():
    found = paired_difference({0: 1.0, 2: 7.0, 5: 100.0}, {2: 4.0, 0: 0.0, 1: -50.0})
    assert found.count == 2 and found.mean == 2.0
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_noise_floor_is_the_deviation_of_a_difference():
    # Var(x - y) = 2 s² over all ordered pairs of independent draws from {-1, 1}.
    draws = [x - y for x in (-1, 1) for y in (-1, 1)]
    assert noise_floor(1.0) == pytest.approx(math.sqrt(sum(d * d for d in draws) / len(draws)))


@pytest.mark.parametrize(
    ("measured", "paper", "said"),
    [(-0.1, -2, True), (0.1, 2, True), (0.1, -2, False), (0.0, -2, False), (0.1, 0.0, None), (math.nan, -2, None)],
)
def test_same_sign(measured, paper, said):
    assert same_sign(measured, paper) is said


def test_rank_correlation_against_the_formula_without_ties():
    measured, paper = [1.0, 5.0, 2.0, 9.0, 3.0], [10.0, 20.0, 30.0, 40.0, 50.0]
    ranks = [1, 4, 2, 5, 3]
    squares = sum((a - b) ** 2 for a, b in zip(ranks, range(1, 6), strict=True))
    expected = 1 - 6 * squares / (5 * (25 - 1))
    found = rank_correlation(list(zip(measured, paper, strict=True)))
    assert found.rho == pytest.approx(expected) and found.count == 5 and found.exact


def test_rank_correlation_needs_four_finite_rows_that_differ():
    assert rank_correlation([(1, 1), (2, 2), (3, 3)]) is None
    assert rank_correlation([(1, 1), (2, 2), (3, 3), (math.nan, 4)]) is None
    assert rank_correlation([(1, 1), (1, 2), (1, 3), (1, 4)]) is None
    assert rank_correlation([(4, 1), (3, 2), (2, 3), (1, 4)]).rho == pytest.approx(-1)


def test_the_p_of_a_rank_correlation_counts_all_orders():
    # Of the 24 orders of four rows, two have a correlation of size 1, and six more one of size 0.8.
    assert rank_correlation([(1, 1), (2, 2), (3, 3), (4, 4)]).p == pytest.approx(2 / 24)
    assert rank_correlation([(1, 1), (2, 2), (4, 3), (3, 4)]).p == pytest.approx(8 / 24)


def test_the_p_of_a_rank_correlation_with_ties_against_every_order():
    measured, paper = [1.0, 1.0, 2.0, 4.0, 3.0], [2.0, 1.0, 2.0, 5.0, 6.0]
    found = rank_correlation(list(zip(measured, paper, strict=True)))
    every = [stats.spearmanr(order, paper).statistic for order in permutations(measured)]
    assert found.rho == pytest.approx(stats.spearmanr(measured, paper).statistic)
    assert found.p == pytest.approx(np.mean(np.abs(every) >= abs(found.rho) - 1e-12))


def test_many_rows_have_the_p_of_the_t_approximation():
    pairs = [(float(index), math.sin(index)) for index in range(12)]
    found = rank_correlation(pairs)
    assert not found.exact and found.p == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).pvalue)


def test_the_p_of_a_difference_is_that_of_the_paired_t_test():
    values, baseline = {0: 3.1, 1: 3.4, 2: 3.2, 5: 3.3}, {0: 3.0, 1: 3.2, 2: 3.25, 5: 3.1}
    expected = stats.ttest_rel(list(values.values()), list(baseline.values()))
    found = paired_difference(values, baseline)
    assert found.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_p_without_spread_and_without_seeds():
    assert estimate([0.5, 0.5]).p_value == 0 and estimate([0.0, 0.0]).p_value == 1
    assert estimate([0.5]).p_value is None and estimate([math.nan, 1.0]).p_value is None


def test_holm_by_hand():
    # Ascending 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 gives 0.04, 0.06, 0.06, 0.04, of which the running maximum.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([0.2]) == [0.2] and holm([]) == []
