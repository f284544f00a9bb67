from dataclasses import replace

import pytest

from hcexp.report.matrices import matrices, svg
from hcexp.report.report import build
from hcexp.report.results import Results
from tests.report.read import section


@pytest.fixture
def left(sweep, finished, analysed, tmp_path):
    """A function: results of these rows and seeds, each run analysed with the options given, None left as it is."""

    def make(runs):
        outcomes = []
        for (label, seed), options in runs.items():
            outcomes.append(replace(finished(label, seed, 4.0), directory=tmp_path / f"{label}-{seed}"))
            if options is not None:
                analysed(outcomes[-1].directory, **options)
        labels = tuple(dict.fromkeys(label for label, _ in runs))
        return sweep(labels=labels, seeds=(0, 1, 2), table=None), outcomes

    return make


def test_the_first_analysed_seed_of_every_row(left):
    runs = {("base", 0): {}, ("base", 1): {"shift": 0.25}, ("row", 2): {"shift": 0.5}, ("row", 0): None}
    found = matrices(Results(*left({**runs, ("row", 1): {"shift": 0.25}, ("other", 0): None})))
    assert list(found.rows) == ["base, seed 0", "row, seed 1"] and found.remarks == ()
    assert found.rows["row, seed 1"].C_0[0, 0] == 0.75
    drawing = svg(found)
    assert drawing.count("<image") >= 2 * 3 and "row, seed 1" in drawing


def test_what_cannot_be_drawn_is_told_and_the_next_seed_taken(left, tmp_path):
    asked = left({("base", 0): {}, ("base", 1): {"step": 50}, ("base", 2): {}, ("row", 0): {"shift": float("nan")}})
    file = tmp_path / "base-0" / "analysis" / "connections.csv"
    file.write_text("row\n1\n")
    report = build(*asked, "tiny")
    assert list(report.matrices.rows) == ["base, seed 2"]
    broken, other_step, not_finite = section(report, "Connection matrices").sentences
    assert broken.startswith("base, seed 0: ") and str(file) in broken
    assert other_step == (
        "base, seed 1: its analysis is of step 50, and the run ended at step 100: left out; "
        f"hcexp analyse {tmp_path / 'base-1'} makes it anew."
    )
    assert not_finite == "row, seed 0: not all weights of its connections are finite."


def test_without_an_analysis_there_is_no_section(left):
    assert not any(section.title == "Connection matrices" for section in build(*left({("a", 0): None}), "x").sections)
