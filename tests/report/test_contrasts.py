import math

import pytest
from scipy import stats

from hcexp.analysis.statistics import holm
from hcexp.report.contrasts import contrasts, levels, order
from hcexp.report.report import build
from hcexp.report.results import Results
from tests.report.read import lines, said, section

METRIC = "corpus/mean/loss"
VALUES = {
    "base": [4.00, 4.10, 4.31],
    "near": [4.01, 4.09, 4.30],
    "good": [3.90, 4.01, 4.20],
    "bad": [4.20, 4.33, 4.50],
}
BY_SEED = {label: dict(enumerate(values)) for label, values in VALUES.items()}


@pytest.fixture
def made(sweep, losses):
    """A function: the sweep with these contrasts, and its outcomes."""

    def make(values=VALUES, pairs=(("near", "good"), ("good", "base")), seeds=(0, 1, 2)):
        return sweep(labels=tuple(values), seeds=seeds, table=None, contrasts=pairs), losses(values)

    return make


def test_what_the_file_names_and_every_row_against_the_baseline_are_corrected_together(made):
    found = contrasts(Results(*made()), METRIC)
    pairs = [("near", "good"), ("good", "base"), ("near", "base"), ("bad", "base")]
    assert [(one.row, one.against) for one in found] == pairs
    p_values = [stats.ttest_rel(VALUES[row], VALUES[against]).pvalue for row, against in pairs]
    assert [one.p for one in found] == pytest.approx(p_values)
    assert [one.corrected for one in found] == pytest.approx(holm(p_values))
    assert [one.told_apart for one in found] == [True, True, False, True]
    assert found[0].difference.mean == pytest.approx(0.29 / 3)


def test_the_table_and_the_sentence_say_which_are_told_apart(made):
    report = build(*made(), "tiny")
    (table,) = section(report, "Planned comparisons by corpus loss").tables
    assert [line["told apart"] for line in lines(table)] == ["yes", "yes", "no", "yes"]
    assert lines(table)[1]["difference"].startswith("−0.100 ± ") and "the 4 comparisons of this table" in table.notes[0]
    (sentence,) = [each for each in said(report) if each.startswith("Planned comparisons")]
    assert sentence.endswith("3 of 4 told apart at 5 %: near > good; good < base; bad > base.")
    assert "Order of the rows by corpus loss, the lowest first: good; near; base; bad." in " ".join(said(report))


def test_one_seed_is_ordered_and_nothing_told_apart(made):
    report = build(*made({label: values[:1] for label, values in VALUES.items()}, seeds=(0,)), "tiny")
    assert {one.told_apart for one in contrasts(report.results, METRIC)} == {None}
    assert not any(section.title.startswith("Planned") for section in report.sections)
    assert "the lowest first: good; base; near; bad." in " ".join(said(report))


def test_the_levels_are_the_baselines_mean_and_the_paired_difference():
    """So a row gains nothing by the want of the hardest seed."""
    lacking = {**BY_SEED, "bad": {0: 4.02, 1: 4.12}, "alone": {7: 3.0}, "nothing": {}}
    base = (4.00 + 4.10 + 4.31) / 3
    assert levels("base", lacking) == pytest.approx(
        {"base": base, "near": base - 0.01 / 3, "good": base - 0.1, "bad": base + 0.02, "alone": 3}
    )


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"near": [math.nan, 1.0], "bad": []}, ["good", "base"]),
        ({"base": []}, ["good", "near", "bad"]),
        ({"base": [math.nan, 4.1, 4.3]}, ["good", "near", "bad"]),
        (dict.fromkeys(VALUES, [math.nan]), []),
    ],
)
def test_rows_that_diverged_or_are_missing_have_no_place(made, changes, rows):
    results = Results(*made({**VALUES, **changes}))
    assert list(order(results, METRIC)) == rows
    assert all(one.told_apart is None for one in contrasts(results, METRIC) if not {one.row, one.against} <= set(rows))
