import math

import pytest
from scipy import stats

from hcexp.report import build
from hcexp.report.ranking import levels, ranking
from hcexp.report.ranking_grid import ranking_grid
from hcexp.report.statistics import holm

VALUES = {
    "base": {0: 4.00, 1: 4.10, 2: 4.31},
    "near": {0: 4.01, 1: 4.09, 2: 4.30},
    "good": {0: 3.90, 1: 4.01, 2: 4.20},
    "bad": {0: 4.20, 1: 4.33, 2: 4.50},
}


def test_the_best_comes_first_and_neighbours_are_tested_in_pairs():
    found = ranking("v3/mean/loss", "base", VALUES)
    assert [row.label for row in found.rows] == ["good", "near", "base", "bad"]
    p_values = [
        stats.ttest_rel(list(VALUES[worse].values()), list(VALUES[better].values())).pvalue
        for better, worse in (("good", "near"), ("near", "base"), ("base", "bad"))
    ]
    assert [row.p for row in found.rows[:-1]] == pytest.approx(p_values)
    assert [row.corrected for row in found.rows[:-1]] == pytest.approx(holm(p_values))
    assert [row.separated for row in found.rows] == [True, False, True, None]
    assert found.rows[0].behind.mean == pytest.approx(0.29 / 3) and found.rows[-1].behind is None
    assert found.rows[2].difference is None and found.rows[3].difference.mean == pytest.approx(0.62 / 3)
    assert found.tested == 3


def test_a_row_that_lacks_a_seed_gains_nothing_by_it():
    # Its mean is the lowest, for want of the hardest seed; paired, it is the worst.
    lacking = {**VALUES, "bad": {0: 4.02, 1: 4.12}}
    found = ranking("v3/mean/loss", "base", lacking)
    assert [row.label for row in found.rows] == ["good", "near", "base", "bad"]
    assert found.rows[-1].value.mean == pytest.approx(4.07) and found.rows[2].p is not None


def test_the_levels_are_the_baselines_mean_and_the_paired_difference():
    lacking = {**VALUES, "bad": {0: 4.02, 1: 4.12}, "alone": {7: 3.0}, "nothing": {}}
    found = levels("base", lacking)
    base = (4.00 + 4.10 + 4.31) / 3
    assert found == pytest.approx(
        {"base": base, "near": base - 0.01 / 3, "good": base - 0.1, "bad": base + 0.02, "alone": 3}
    )
    assert {row.label: row.level for row in ranking("v3/mean/loss", "base", lacking).rows} == found


def test_one_seed_is_ranked_and_nothing_told_apart(sweep, losses):
    values = {label: [by_seed[0]] for label, by_seed in VALUES.items()}
    report = build(sweep(labels=tuple(values), seeds=(0,), table=None), losses(values), "tiny")
    (found,) = report.rankings
    assert [row.label for row in found.rows] == ["good", "base", "near", "bad"]
    assert found.tested == 0 and {row.separated for row in found.rows} == {None} and report.tested_rankings == ()
    (said,) = [each for each in report.statements if each.startswith("Ranking by corpus loss")]
    assert "good ≈ base ≈ near ≈ bad; without two seeds" in said


def test_rows_that_diverged_or_are_missing_are_not_ranked():
    found = ranking("v3/mean/loss", "base", {**VALUES, "near": {0: math.nan, 1: 1.0}, "bad": {}})
    assert [row.label for row in found.rows] == ["good", "base"]
    assert ranking("v3/mean/loss", "base", {"base": {}}).rows == ()


def test_where_every_row_diverged_there_is_no_order(sweep, losses):
    report = build(sweep(labels=("a", "b"), seeds=(0,), table=None), losses({"a": [math.nan], "b": [math.nan]}), "tiny")
    assert report.rankings[0].rows == () and not any("Ranking" in said for said in report.statements)


def test_without_the_baseline_rows_are_ranked_by_their_means():
    found = ranking("v3/mean/loss", "base", {**VALUES, "base": {}})
    assert [row.label for row in found.rows] == ["good", "near", "bad"] and found.rows[0].difference is None


def test_where_the_baseline_diverged_rows_are_ranked_by_their_means():
    values = {"bad": VALUES["bad"], **VALUES, "base": {0: math.nan, 1: 4.1, 2: 4.3}}
    found = ranking("v3/mean/loss", "base", values)
    assert [row.label for row in found.rows] == ["good", "near", "bad"] and found.rows[0].difference is None


def test_the_statement_and_the_table_say_which_cannot_be_told_apart(sweep, losses):
    values = {label: list(by_seed.values()) for label, by_seed in VALUES.items()}
    report = build(sweep(labels=tuple(values), table=None), losses(values), "tiny")
    (said,) = [each for each in report.statements if each.startswith("Ranking by corpus loss")]
    assert "best first: good < near ≈ base < bad, where ≈" in said and said.endswith("for 3 pairs: 1 of 3.")
    content = ranking_grid(report, report.rankings[0])
    texts = [[cell.text for cell in line] for line in content.rows]
    assert [line[-1] for line in texts] == ["yes", "no", "yes", "–"]
    assert texts[0][:3] == ["good", "1", "4.037 ± 0.377"] and texts[0][3].startswith("−0.100 ± ")
    assert "Holm: corrected for the 3 pairs" in " ".join(content.notes)
