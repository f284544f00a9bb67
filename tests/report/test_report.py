import math
from dataclasses import replace
from pathlib import Path

import pytest

from hcexp.report.report import build
from hcexp.study.sweep.sweep import Outcome
from tests.report.read import by_label, said, section, shown

LOSS = "corpus/mean/loss"
# Three seeds that share an offset each; DHC×1 is worse than the baseline, as in the paper, the others better.
VALUES = {
    "OLMo-1B": [4.00, 4.10, 4.30],
    "DHC×1": [4.02, 4.13, 4.31],
    "DHC×2": [3.99, 4.08, 4.29],
    "DHC×4": [3.90, 4.01, 4.22],
}


def test_mean_interval_and_paired_difference_by_hand(sweep, losses):
    outcomes = losses(VALUES)
    results = build(sweep(), outcomes, "tiny").results
    # t(0.975, 2) = 4.3026527…; differences -0.10, -0.09, -0.08 have mean -0.09 and s = 0.01.
    assert results.mean("DHC×4", LOSS).mean == pytest.approx((3.90 + 4.01 + 4.22) / 3)
    found = results.difference("DHC×4", LOSS)
    assert found.mean == pytest.approx(-0.09) and found.count == 3 and found.beyond_noise is True
    assert found.half_width == pytest.approx(4.30265273 * 0.01 / math.sqrt(3))
    assert results.difference("OLMo-1B", LOSS) is None
    assert results.difference("DHC×4", LOSS, "DHC×2").mean == pytest.approx((-0.09 - 0.07 - 0.07) / 3)
    assert build(sweep(), outcomes[::-1], "tiny").main == build(sweep(), outcomes, "tiny").main


@pytest.mark.parametrize(
    ("suite", "columns"), [("corpus", ("v2_loss", "v3_loss")), ("v2", ("v2_loss",)), ("v3", ("v3_loss",))]
)
def test_signs_are_compared_with_the_papers_own_column_of_the_suite(sweep, losses, suite, columns):
    turned = {**VALUES, "DHC×2": [4.01, 4.12, 4.33]}
    report = build(sweep(), losses(turned, suite=suite), "tiny")
    cells = by_label(report.main)
    names = [f"sign as {column[:2].upper()} loss" for column in columns]
    assert [header for header in cells["DHC×1"] if header.startswith("sign as")] == names
    for label, sign in (("OLMo-1B", "–"), ("DHC×1", "✓"), ("DHC×2", "✗"), ("DHC×4", "✓")):
        assert [cells[label][name] for name in names] == [sign] * len(names)
    if len(columns) == 2:
        (sentence,) = [each for each in said(report) if each.startswith("Sign of the difference")]
        assert "agrees in 2 of 3 with the paper's V2 loss, and in 2 of 3 with the paper's V3 loss" in sentence


def test_failed_and_missing_seeds_leave_the_rest(sweep, losses):
    outcomes = losses({**VALUES, "DHC×2": [3.99, None, 4.29], "DHC×1": [4.02, 4.13, None]})
    broken = Outcome("DHC×2", 1, "failed", outcomes[0].directory, {LOSS: 99.0}, "loss is NaN", "hcexp train x")
    results = build(sweep(), [*outcomes, broken], "tiny").results
    assert results.incomplete("DHC×2") and [run.seed for run in results.runs("DHC×2")] == [0, 2]
    # What a failed run left is not averaged in.
    assert results.mean("DHC×2", LOSS).mean == pytest.approx((3.99 + 4.29) / 2)
    assert results.difference("DHC×2", LOSS).mean == pytest.approx(-0.01)
    assert results.unfinished == ("DHC×1, seed 2: missing", "DHC×2, seed 1: failed: loss is NaN")


def test_a_pruned_run_is_named_with_its_step_and_has_no_part_in_the_numbers(sweep, losses):
    pruned = Outcome("DHC×4", 0, "pruned", Path(), {LOSS: 1.0}, result={"steps": 40})
    report = build(sweep(seeds=(0,)), [*losses({"OLMo-1B": [4.0], "DHC×2": [3.9]}), pruned], "tiny")
    assert "DHC×4, seed 0: pruned at step 40" in section(report, "Not finished").sentences
    assert "DHC×4, seed 0: pruned at step 40" in shown(report)
    assert report.results.mean("DHC×4", LOSS) is None


def test_without_the_baseline_there_are_values_and_no_differences(sweep, losses):
    report = build(sweep(), losses({**VALUES, "OLMo-1B": []}), "tiny")
    row = by_label(report.main)["DHC×4"]
    assert row["corpus loss"].startswith("4.043 ± ") and row["Δ corpus loss"] == row["sign as V2 loss"] == "–"
    assert any("baseline OLMo-1B has no corpus loss" in each for each in said(report))


def test_nothing_finished_is_a_report_still(sweep):
    report = build(sweep(), [], "tiny")
    assert len(report.results.unfinished) == 12 and report.results.suites == () and report.answer == ()
    assert any("nothing measured" in each for each in said(report))


def test_one_seed_says_that_it_has_no_interval(sweep, losses):
    report = build(sweep(seeds=(0,)), losses({label: values[:1] for label, values in VALUES.items()}), "tiny")
    assert report.noise == (
        "One seed: no interval can be given, and no difference be told from the noise of the seed.",
    )
    assert report.noise[0] in said(report) and report.noise[0] in shown(report, 200)
    assert not any("Seed noise" in each or "Larger than" in each or "Planned" in each for each in said(report))
    assert report.answer == ()


def test_the_answer_names_who_is_better_and_who_is_not_told_apart(sweep, losses):
    report = build(sweep(), losses({**VALUES, "DHC×2": [4.10, 4.05, 4.29], "DHC×1": [4.2, 4.31, 4.51]}), "tiny")
    assert report.answer == ("Corpus loss against OLMo-1B. Better: DHC×4. Not told apart: DHC×2. Worse: DHC×1.",)
    text = "\n".join(said(report))
    # The deviation is that of the baseline.
    s = math.sqrt(sum((x - 12.4 / 3) ** 2 for x in (4.0, 4.1, 4.3)) / 2)
    assert f"standard deviation of {s:.4f} over 3 seeds" in text and f"{math.sqrt(2) * s:.4f}" in text
    assert "2 of 3 differences in corpus loss have" in text
    assert "Compare signs and order, not values" in text and "500B tokens" in text


@pytest.mark.parametrize(("sign", "rho"), [(1, "1.00"), (-1, "−1.00")])
def test_the_order_is_compared_with_the_papers(sweep, losses, sign, rho):
    exact = {"OLMo-1B": [2.811], "DHC×1": [2.819], "DHC×2": [2.802], "DHC×4": [2.781]}
    turned = {label: [sign * value] for label, (value,) in exact.items()}
    text = "\n".join(said(build(sweep(seeds=(0,)), losses(turned), "tiny")))
    # Two of the 24 orders of four rows are as good, or as bad.
    assert f"corpus loss is {rho} (p = 0.083) with the paper's V2 loss" in text and "over 4 rows" in text
    fewer = dict(list(exact.items())[:3])
    report = build(sweep(labels=tuple(fewer), seeds=(0,)), losses(fewer), "tiny")
    assert "Spearman" not in "\n".join(said(report))


def test_a_row_that_lacks_a_seed_keeps_its_place(sweep, losses):
    # Paired by seed the order is the paper's; DHC×1, the worst, has the lowest mean, for want of the hardest seed.
    values = {
        "OLMo-1B": [4.00, 4.10, 5.50],
        "DHC×1": [4.01, 4.11, None],
        "DHC×2": [3.97, 4.07, 5.47],
        "DHC×4": [3.95, 4.05, 5.45],
    }
    text = "\n".join(said(build(sweep(), losses(values), "tiny")))
    assert "corpus loss is 1.00 (p = 0.083) with the paper's V2 loss" in text
    assert "Order of the rows by corpus loss, the lowest first: DHC×4; DHC×2; OLMo-1B; DHC×1." in text


def test_a_row_that_the_paper_lacks_and_a_sweep_without_a_table(sweep, losses):
    labels, values = ("OLMo-1B", "mHC×4"), {"OLMo-1B": [4.0], "mHC×4": [3.9]}
    row = by_label(build(sweep(labels=labels, seeds=(0,)), losses(values), "tiny").main)["mHC×4"]
    assert row["paper V2 loss"] == row["sign as V2 loss"] == "–"
    report = build(sweep(labels=labels, seeds=(0,), table=None), losses(values), "tiny")
    assert report.main.title == "Measured" and any("answers no table" in each for each in said(report))
    assert not any("paper" in header or "sign" in header for header in by_label(report.main)["mHC×4"])


def test_a_diverged_run_is_named_and_not_averaged_away(sweep, losses):
    report = build(sweep(), losses({**VALUES, "DHC×2": [3.99, math.nan, 4.29]}), "tiny")
    row = by_label(report.main)["DHC×2"]
    assert (row["corpus loss"], row["Δ corpus loss"], row["sign as V2 loss"]) == ("NaN", "NaN", "–")
    assert "DHC×2: corpus/mean/loss is not finite under seed 1: no interval, no sign." in report.warnings


@pytest.mark.parametrize(("label", "seed"), [("DHC×16", 0), ("DHC×4", 7)])
def test_an_outcome_of_no_point_is_refused(sweep, finished, label, seed):
    with pytest.raises(ValueError, match=f"{label}.*seed {seed}: no point of sweep asked"):
        build(sweep(), [finished(label, seed, 4.0)], "tiny")
    with pytest.raises(ValueError, match="'DHC×4', seed 0: given twice"):
        build(sweep(), [finished("DHC×4", 0, 4.0), finished("DHC×4", 0, 4.1)], "tiny")


@pytest.mark.parametrize(("seeds", "last"), [((0, 1, 2), "SEEDS=3"), ((0,), "SEEDS=1"), ((7,), "SEEDS=7,")])
def test_the_command_repeats_the_seeds(sweep, seeds, last):
    command = build(sweep(seeds=seeds), [], "20m").command
    assert command == f"make sweep SWEEP=asked SCALE=20m {last}"
    assert build(replace(sweep(), seeds=(0, 7)), [], "20m").command.endswith("SEEDS=0,7")
    assert build(sweep(), [], "20m", command="hcexp sweep mine.yaml").command == "hcexp sweep mine.yaml"


def test_measured_columns_come_first_and_carry_their_suite(sweep, losses):
    headers = list(by_label(build(sweep(), losses(VALUES), "tiny").main)["DHC×4"])
    assert headers[:3] == ["row", "corpus loss", "Δ corpus loss"]
    assert headers[8:13] == [f"paper {name}" for name in ("V2 loss", "V2 ppl", "V3 loss", "V3 ppl", "accuracy %")]
    assert not any("V2" in header or "V3" in header for header in headers if not header.startswith(("paper", "sign")))
    v2 = list(by_label(build(sweep(), losses(VALUES, suite="v2"), "tiny").main)["DHC×4"])
    assert "V2 loss" in v2 and "V3 loss" not in v2


def test_cells_and_what_was_not_measured(sweep, losses):
    more = {"train/spikes": 2.0, "train/spike_score": 0.0125, "downstream/mean/accuracy": 0.625}
    found = by_label(build(sweep(), losses({**VALUES, "DHC×2": [4.10, 4.05, 4.29]}, metrics=more), "tiny").main)
    row = found["DHC×4"]
    assert row["paper V2 ppl"] == "17.509" and row["paper accuracy %"] == "63.8"
    assert row["corpus loss"].startswith("4.043 ± 0.4") and row["Δ corpus loss"] == "−0.090 ± 0.025"
    assert (row["beyond noise"], found["DHC×2"]["beyond noise"], row["seeds"]) == ("yes", "no", "3")
    assert (row["spikes"], row["spike score %"], row["downstream accuracy %"]) == ("2.0", "1.25", "62.5 ± 0.0")
    found = by_label(build(sweep(), losses(VALUES), "tiny").main)
    for header in ("corpus ppl", "corpus bits/byte", "spikes", "spike score %", "downstream accuracy %"):
        assert {row[header] for row in found.values()} == {"–"}


def test_incomplete_rows_and_those_printed_elsewhere_are_marked(sweep, losses):
    report = build(sweep(), losses({**VALUES, "OLMo-1B": [4.0, 4.1, None], "DHC×2": [None, 4.05, 4.29]}), "tiny")
    labels = [row[0] for row in report.main.rows]
    assert labels == ["OLMo-1B †", "DHC×1", "DHC×2 †", "DHC×4"] and report.main.notes[-1].startswith("†")
    row = by_label(report.main)["DHC×2"]
    assert row["seeds"] == "2 of 3" and row["Δ corpus loss"] == "−0.050 (1 of 2 paired)"
    report = build(sweep(labels=("OLMo-1B", "DHC×4"), table=3, seeds=(0,)), losses({"OLMo-1B": [4.0]}), "tiny")
    assert report.main.rows[0][0] == "OLMo-1B ‡" and by_label(report.main)["OLMo-1B"]["paper V2 loss"] == "2.811"
    assert "Table 3 has no row OLMo-1B" in report.main.notes[-1] and "Table 1" in report.main.notes[-1]
