import csv
from dataclasses import replace
from io import StringIO

import pytest
import yaml
from rich.console import Console

from hcexp.report.render import search_markdown
from hcexp.report.search import SearchReport, show_search, write_search
from hcexp.study.search.result import RowResult, TrialRecord
from hcexp.study.search.space import Space

SPACE = Space(
    {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "data.batch_size": {"low": 1, "high": 100}}, trials=4
)


def drawn(lr, size, state="finished", loss=None, step=None, error=None):
    return TrialRecord({"optimizer.lr": lr, "data.batch_size": size}, state, loss, step, error, "0123456789abcdef")


@pytest.fixture
def report(sweep):
    """Of three rows: one through, one with the best at an end, one that has only begun."""
    through = [drawn(0.003, 8, loss=2.5), drawn(0.001, 50, loss=2.25), drawn(0.0002, 9, "pruned", 4.5, step=100)]
    through.append(drawn(0.009, 7, "failed", error="loss is nan | at step 3"))
    at_the_end = [drawn(0.003, 8, loss=2.5), drawn(0.0098, 99, loss=2.4), drawn(0.002, 9, loss=2.75)]
    found = (
        RowResult("Pre-Norm", ("residual=pre_norm",), tuple(through)),
        RowResult("DHC×2 [red]", ("residual=dhc",), (*at_the_end, drawn(0.001, 1, "pruned", 4.0, step=50))),
        RowResult("SHC", ("residual=shc",), (drawn(0.003, 8, "missing"),)),
    )
    labels = [each.label for each in found]
    return SearchReport(
        replace(sweep(labels, (0,), None, name="tune"), search=SPACE), "tiny", "v2", found, "hcexp sweep tune"
    )


def test_a_row_has_its_best_and_its_default_and_how_the_trials_ended(report):
    first, second, third = report.rows
    assert first == {
        "row": "Pre-Norm",
        "best lr": 0.001,
        "best batch_size": 50,
        "end of lr": None,
        "end of batch_size": None,
        "V2 loss": 2.25,
        "default lr": 0.003,
        "default batch_size": 8,
        "default's V2 loss": 2.5,
        "change": -0.25,
        "finished": 2,
        "pruned": 1,
        "failed": 1,
    }
    assert (second["end of lr"], second["end of batch_size"]) == ("upper", "upper")
    assert (third["best lr"], third["V2 loss"], third["change"], third["finished"]) == (None, None, None, 0)
    assert third["default lr"] == 0.003


def test_a_trial_that_is_best_by_being_pruned_or_infinite_is_not(report):
    found = RowResult("a", (), (drawn(0.003, 8, loss=float("inf")), drawn(0.001, 8, "pruned", 0.5, step=1)))
    assert found.best is None
    assert RowResult("a", (), (*found.trials, drawn(0.002, 8, loss=3.0))).best.loss == 3.0


def test_notes_say_what_is_left_and_what_lies_at_an_end(report):
    left, lr, size, seed = report.notes
    assert left == "Trials to be made yet: SHC 4."
    assert lr.startswith(
        "DHC×2 [red]: the best optimizer.lr lies at the upper end of what was searched (0.0001 to 0.01)"
    )
    assert "data.batch_size" in size and "--tuned tune" in seed


@pytest.mark.parametrize(
    ("value", "end"), [(1e-4, "lower"), (1.2e-4, "lower"), (1.3e-4, None), (1e-3, None), (8e-3, "upper"), (7e-3, None)]
)
def test_an_end_is_a_twentieth_of_the_range_in_its_own_scale(value, end):
    assert SPACE.end("optimizer.lr", value) == end


def test_a_linear_range_and_choices(report):
    assert [SPACE.end("data.batch_size", value) for value in (1, 5, 6, 50, 96, 100)] == [
        "lower",
        "lower",
        None,
        None,
        "upper",
        "upper",
    ]
    assert Space({"schedule": {"choices": ["cosine"]}}, trials=1).end("schedule", "cosine") is None


def test_the_terminal_shows_labels_as_they_are_and_marks_the_ends(report):
    console = Console(width=120, record=True, file=StringIO())
    show_search(report, console)
    text = console.export_text()
    line = next(line for line in text.splitlines() if "DHC×2 [red]" in line)
    assert line.split() == "DHC×2 [red] 0.0098 ↑ 99 ↑ 2.400 0.003 8 2.500 −0.100 3 1 0".split()
    assert "search tune · scale tiny · 4 trials a row · seed 0" in text and "upper end" in text


def test_the_folder_has_the_table_every_trial_and_the_tuned_values(report, tmp_path):
    paths = write_search(report, tmp_path / "reports")
    assert [path.name for path in paths] == ["search.md", "search.csv", "search-trials.csv", "tuned.yaml"]
    assert sorted((tmp_path / "reports").iterdir()) == sorted(paths)
    markdown, table, trials, tuned = (path.read_text(encoding="utf-8") for path in paths)
    assert "| **Pre-Norm** | 0.001 | 50 | 2.250 | 0.003 | 8 | 2.500 | −0.250 | 2 | 1 | 1 |" in markdown
    assert "| Pre-Norm | 2 | 0.0002 | 9 | pruned at step 100 | 4.500 | 0123456789abcdef |" in markdown
    assert "failed: loss is nan \\| at step 3" in markdown and "```sh\nhcexp sweep tune\n```" in markdown
    lines = list(csv.DictReader(table.splitlines()))
    assert [line["end of lr"] for line in lines] == ["", "upper", ""] and lines[0]["V2 loss"] == "2.25"
    lines = list(csv.DictReader(trials.splitlines()))
    assert len(lines) == 9 and lines[3]["state"] == "failed: loss is nan | at step 3" and lines[3]["V2 loss"] == ""
    assert [row["values"] for row in yaml.safe_load(tuned)["rows"]] == [
        {"optimizer.lr": 0.001, "data.batch_size": 50},
        {"optimizer.lr": 0.0098, "data.batch_size": 99},
        None,
    ]


def test_the_question_stands_below_the_title(report, tmp_path):
    assert search_markdown(report).split("\n\n")[1].startswith("search tune")
    asked = replace(report, sweep=replace(report.sweep, question="Which is better?"))
    assert search_markdown(asked).split("\n\n")[1:3] == [
        "Which is better?",
        "search tune · scale tiny · 4 trials a row · seed 0",
    ]


def test_a_search_without_a_trial_can_be_written(report, tmp_path):
    empty = replace(report, found=[replace(found, trials=()) for found in report.found])
    markdown, table, trials, tuned = (path.read_text(encoding="utf-8") for path in write_search(empty, tmp_path))
    assert "Trials to be made yet: Pre-Norm 4, DHC" in markdown
    assert len(table.splitlines()) == 4 and trials.strip() == ""
