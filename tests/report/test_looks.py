import csv as reader
import io

import pytest
from rich.console import Console

from hcexp.report import build, csv, html, markdown, parts_csv, show
from hcexp.report.looks import look

METRICS = {"v3/pile/loss": 3.0, "v3/mean/loss": 3.0, "downstream/copa/accuracy": 0.9, "downstream/mean/accuracy": 0.9}
SETS, TASKS = "first 200 documents a set", "first 200 documents a task"


@pytest.mark.parametrize(
    ("knobs", "sets", "tasks"),
    [
        ((), "", ""),
        (("evaluation.documents=200",), SETS, TASKS),
        (("evaluation.documents=200", "downstream.documents=null"), SETS, ""),
        (("evaluation.max_tokens=5000",), "first 5,000 tokens a set", ""),
    ],
)
def test_what_was_read_is_that_of_the_recorded_configuration(evaluated, knobs, sets, tasks):
    outcome = evaluated(METRICS, *knobs)[1][0]
    assert (look(outcome, "v3"), look(outcome, "downstream")) == (sets, tasks)


def shown(report):
    console = Console(file=io.StringIO(), width=120, color_system=None)
    show(report, console)
    return console.file.getvalue()


def test_a_quick_look_is_marked_wherever_its_scores_are(evaluated):
    report = build(*evaluated(METRICS, "evaluation.documents=200"), "tiny")
    text, page = markdown(report), html(report)
    for made in (text, page):
        assert f"Measured, V3 suite ({SETS})" in made or f"| V3 loss ({SETS}) |" in made
        assert f"| Δ V3 loss ({SETS}) |" in made or made is page
        assert f"downstream accuracy % ({TASKS})" in made
        assert f"V3 loss of each set, beside Table 18 of the paper ({SETS})" in made
        assert f"accuracy % of each task, beside Table 15 of the paper ({TASKS})" in made
    assert dict(report.setup)["evaluated on"] == f"V3 ({SETS}), downstream ({TASKS})"
    assert f"A quick look: V3: {SETS}; downstream: {TASKS}." in report.statements
    assert f"V3 suite ({SETS})" in text and f"V3: {SETS}" in shown(report)
    for line in reader.DictReader(io.StringIO(csv(report))):
        assert (line["V3 read"], line["downstream read"]) == (SETS, TASKS)
    assert {line["read"] for line in reader.DictReader(io.StringIO(parts_csv(report)))} == {SETS, TASKS}


def test_what_was_read_whole_is_not_marked(evaluated):
    report = build(*evaluated(METRICS), "tiny")
    assert report.looks == {}
    for made in (markdown(report), html(report), shown(report)):
        assert "first 200" not in made and "quick look:" not in made


def test_rows_that_read_different_amounts_are_named(evaluated):
    sweep, outcomes = evaluated(METRICS)
    quick = evaluated(METRICS, "evaluation.documents=200")[1]
    report = build(sweep, [*outcomes[:-1], quick[-1]], "tiny")
    assert report.looks["v3"] == f"whole · {SETS}"
    said = [warning for warning in report.warnings if "different amounts" in warning]
    assert len(said) == 2 and all("mHC×4, seed 1" in each and "OLMo-1B" not in each for each in said)
