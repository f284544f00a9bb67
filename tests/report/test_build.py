import math
from dataclasses import replace

import pytest

from hcexp.report import build
from hcexp.study.sweep.sweep import Outcome

LOSS = "corpus/mean/loss"
# Three seeds that share an offset each; DHC×1 is worse than the baseline, as in the paper, the others better.
VALUES = {
    "OLMo-1B": [4.00, 4.10, 4.30],
    "DHC×1": [4.02, 4.13, 4.31],
    "DHC×2": [3.99, 4.08, 4.29],
    "DHC×4": [3.90, 4.01, 4.22],
}


def rows(report):
    return {row.label: row for row in report.rows}


def test_mean_interval_and_paired_difference_by_hand(sweep, losses):
    row = rows(build(sweep(), losses(VALUES), "tiny"))["DHC×4"]
    found = row.measures[LOSS]
    # t(0.975, 2) = 4.3026527…; differences -0.10, -0.09, -0.08 have mean -0.09 and s = 0.01.
    assert found.value.mean == pytest.approx((3.90 + 4.01 + 4.22) / 3)
    assert found.difference.mean == pytest.approx(-0.09)
    assert found.difference.half_width == pytest.approx(4.30265273 * 0.01 / math.sqrt(3))
    assert found.difference.count == 3 and found.difference.beyond_noise is True
    assert row.finished == row.asked == (0, 1, 2) and not row.incomplete


def test_the_order_of_outcomes_does_not_matter(sweep, losses):
    outcomes = losses(VALUES)
    assert build(sweep(), outcomes, "tiny").rows == build(sweep(), outcomes[::-1], "tiny").rows


def test_signs_are_compared_with_the_papers(sweep, losses):
    turned = {**VALUES, "DHC×2": [4.01, 4.12, 4.33]}
    found = rows(build(sweep(), losses(turned), "tiny"))
    assert found["DHC×1"].measures[LOSS].agrees == {"v2_loss": True, "v3_loss": True}
    assert found["DHC×2"].measures[LOSS].agrees == {"v2_loss": False, "v3_loss": False}
    assert found["OLMo-1B"].measures[LOSS].agrees == {"v2_loss": None, "v3_loss": None}
    assert found["OLMo-1B"].measures[LOSS].difference is None


def test_a_suite_of_the_paper_is_compared_with_its_own_column(sweep, losses):
    v2 = build(sweep(), losses(VALUES, suite="v2"), "tiny")
    assert rows(v2)["DHC×4"].measures["v2/mean/loss"].agrees == {"v2_loss": True}
    v3 = build(sweep(), losses(VALUES, suite="v3"), "tiny")
    assert rows(v3)["DHC×4"].measures["v3/mean/loss"].agrees == {"v3_loss": True}


def test_failed_and_missing_seeds_leave_the_rest(sweep, losses):
    outcomes = losses({**VALUES, "DHC×2": [3.99, None, 4.29], "DHC×1": [4.02, 4.13, None]})
    broken = Outcome("DHC×2", 1, "failed", outcomes[0].directory, {LOSS: 99.0}, "loss is NaN", "hcexp train x")
    report = build(sweep(), [*outcomes, broken], "tiny")
    row = rows(report)["DHC×2"]
    assert row.incomplete and row.finished == (0, 2)
    # What a failed run left is not averaged in.
    assert row.measures[LOSS].value.mean == pytest.approx((3.99 + 4.29) / 2)
    assert row.measures[LOSS].difference.mean == pytest.approx(-0.01)
    assert [(o.label, o.seed, o.state) for o in report.unfinished] == [
        ("DHC×1", 2, "missing"),
        ("DHC×2", 1, "failed"),
    ]


def test_without_the_baseline_there_are_values_and_no_differences(sweep, losses):
    report = build(sweep(), losses({**VALUES, "OLMo-1B": []}), "tiny")
    found = rows(report)["DHC×4"].measures[LOSS]
    assert found.value.count == 3 and found.difference is None and set(found.agrees.values()) == {None}
    assert any("baseline OLMo-1B has no corpus loss" in said for said in report.statements)


def test_nothing_finished_is_a_report_still(sweep):
    report = build(sweep(), [], "tiny")
    assert len(report.unfinished) == 12 and report.suites == ()
    assert all(measure.value is None for row in report.rows for measure in row.measures.values())
    assert any("nothing measured" in said for said in report.statements)


def test_one_seed_says_that_it_has_no_interval(sweep, losses):
    report = build(sweep(seeds=(0,)), losses({label: values[:1] for label, values in VALUES.items()}), "tiny")
    found = rows(report)["DHC×4"].measures[LOSS]
    assert found.value.half_width is None
    assert found.difference.mean == pytest.approx(-0.10) and found.difference.beyond_noise is None
    assert any(said.startswith("One seed: no interval") for said in report.statements)
    assert not any("Seed noise" in said or "Larger than" in said for said in report.statements)


def test_statements_count_and_rank(sweep, losses):
    turned = {**VALUES, "DHC×2": [4.01, 4.12, 4.33]}
    text = "\n".join(build(sweep(), losses(turned), "tiny").statements)
    assert "agrees in 2 of 3 with the paper's V2 loss, and in 2 of 3 with the paper's V3 loss" in text
    # Measured order: DHC×4 < OLMo-1B < {DHC×1: 4.1533, DHC×2: 4.1533…}; the deviation is that of the baseline.
    s = math.sqrt(sum((x - 12.4 / 3) ** 2 for x in (4.0, 4.1, 4.3)) / 2)
    assert f"standard deviation of {s:.4f} over 3 seeds" in text and f"{math.sqrt(2) * s:.4f}" in text
    assert "Compare signs and order, not values" in text and "500B tokens" in text


def test_a_perfect_order_ranks_one_and_three_rows_are_not_ranked(sweep, losses):
    exact = {"OLMo-1B": [2.811], "DHC×1": [2.819], "DHC×2": [2.802], "DHC×4": [2.781]}
    text = "\n".join(build(sweep(seeds=(0,)), losses(exact), "tiny").statements)
    # Two of the 24 orders of four rows are as good, or as bad.
    assert "corpus loss is 1.00 (p = 0.083) with the paper's V2 loss" in text and "over 4 rows" in text
    fewer = dict(list(exact.items())[:3])
    text = "\n".join(build(sweep(labels=tuple(fewer), seeds=(0,)), losses(fewer), "tiny").statements)
    assert "Spearman" not in text


def test_an_order_turned_round_ranks_minus_one(sweep, losses):
    turned = {"OLMo-1B": [-2.811], "DHC×1": [-2.819], "DHC×2": [-2.802], "DHC×4": [-2.781]}
    text = "\n".join(build(sweep(seeds=(0,)), losses(turned), "tiny").statements)
    assert "corpus loss is −1.00 (p = 0.083) with the paper's V2 loss" in text


def test_a_row_that_lacks_a_seed_keeps_its_place_in_the_rank_correlation(sweep, losses):
    # Paired by seed the order is the paper's; DHC×1, the worst, has the lowest mean, for want of the hardest seed.
    values = {
        "OLMo-1B": [4.00, 4.10, 5.50],
        "DHC×1": [4.01, 4.11, None],
        "DHC×2": [3.97, 4.07, 5.47],
        "DHC×4": [3.95, 4.05, 5.45],
    }
    report = build(sweep(), losses(values), "tiny")
    (said,) = [each for each in report.statements if each.startswith("Order: ")]
    assert "corpus loss is 1.00 (p = 0.083) with the paper's V2 loss" in said
    assert [row.label for row in report.rankings[0].rows] == ["DHC×4", "DHC×2", "OLMo-1B", "DHC×1"]


def test_table_3_takes_its_baseline_from_table_1(sweep, losses):
    labels = ("OLMo-1B", "DHC×4, WC frozen", "DHC×4")
    values = {label: [4.0 - 0.1 * index, 4.1 - 0.1 * index] for index, label in enumerate(labels)}
    found = rows(build(sweep(labels=labels, seeds=(0, 1), table=3), losses(values), "tiny"))
    assert (found["OLMo-1B"].printed_in, found["OLMo-1B"].printed["v2_loss"]) == (1, 2.811)
    assert found["DHC×4"].printed_in == 3
    assert found["DHC×4"].measures[LOSS].agrees == {"v2_loss": True, "v3_loss": True}


def test_a_row_that_the_paper_lacks_and_a_sweep_without_a_table(sweep, losses):
    labels = ("OLMo-1B", "mHC×4")
    values = {"OLMo-1B": [4.0], "mHC×4": [3.9]}
    found = rows(build(sweep(labels=labels, seeds=(0,)), losses(values), "tiny"))["mHC×4"]
    assert found.printed == {} and found.measures[LOSS].agrees == {"v2_loss": None, "v3_loss": None}
    report = build(sweep(labels=labels, seeds=(0,), table=None), losses(values), "tiny")
    assert report.paper is None and report.errata == ()
    assert any("answers no table" in said for said in report.statements)


def test_a_diverged_run_is_named_and_not_averaged_away(sweep, losses):
    report = build(sweep(), losses({**VALUES, "DHC×2": [3.99, math.nan, 4.29]}), "tiny")
    found = rows(report)["DHC×2"].measures[LOSS]
    assert math.isnan(found.value.mean) and found.agrees["v2_loss"] is None
    assert any("DHC×2: corpus/mean/loss is not finite under seed 1" in said for said in report.warnings)


@pytest.mark.parametrize(("label", "seed"), [("DHC×16", 0), ("DHC×4", 7)])
def test_an_outcome_of_no_point_is_refused(sweep, finished, label, seed):
    with pytest.raises(ValueError, match=f"{label}.*seed {seed}: no point of sweep asked"):
        build(sweep(), [finished(label, seed, 4.0)], "tiny")


def test_a_point_with_two_outcomes_is_refused(sweep, finished):
    with pytest.raises(ValueError, match="'DHC×4', seed 0: given twice"):
        build(sweep(), [finished("DHC×4", 0, 4.0), finished("DHC×4", 0, 4.1)], "tiny")


@pytest.mark.parametrize(("seeds", "said"), [((0, 1, 2), "SEEDS=3"), ((0,), "SEEDS=1"), ((7,), "SEEDS=7,")])
def test_the_command_repeats_the_seeds(sweep, seeds, said):
    command = build(sweep(seeds=seeds), [], "20m").command
    assert command == f"make sweep SWEEP=asked SCALE=20m {said}"
    assert build(replace(sweep(), seeds=(0, 7)), [], "20m").command.endswith("SEEDS=0,7")
    assert build(sweep(), [], "20m", command="hcexp sweep mine.yaml").command == "hcexp sweep mine.yaml"
