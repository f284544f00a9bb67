import csv as reader
import io

import pytest

from hcexp.report import build, csv, runs_csv

VALUES = {"OLMo-1B": [1 / 3, 2 / 3], "DHC×1": [0.1, 0.2], 'a, "b" c': [0.3, 0.7], "DHC×4": [0.25]}


@pytest.fixture
def lines(sweep, losses):
    report = build(sweep(labels=tuple(VALUES), seeds=(0, 1)), losses(VALUES), "tiny")
    return report, list(reader.DictReader(io.StringIO(csv(report), newline="")))


def test_every_number_comes_back_exactly(lines):
    report, read = lines
    for row, line in zip(report.rows, read, strict=True):
        measure = row.measures["corpus/mean/loss"]
        assert line["label"] == row.label
        assert float(line["corpus loss"]) == measure.value.mean
        assert int(line["corpus loss seeds"]) == measure.value.count
        if measure.difference:
            assert float(line["corpus loss difference"]) == measure.difference.mean
        if measure.value.half_width is not None:
            assert float(line["corpus loss half width"]) == measure.value.half_width


def test_the_papers_columns_and_the_signs(lines):
    _, read = lines
    assert [line["paper V2 loss"] for line in read] == ["2.811", "2.819", "", "2.781"]
    assert [line["corpus loss sign as V2 loss"] for line in read] == ["", "False", "", "True"]
    assert [line["seeds finished"] for line in read] == ["2", "2", "2", "1"]


def test_not_measured_is_empty_and_no_column_is_called_v2(lines):
    _, read = lines
    assert {line["corpus ppl"] for line in read} == {""} == {line["downstream accuracy"] for line in read}
    assert not [name for name in read[0] if name.startswith(("V2", "V3"))]


def test_every_run_has_a_line_from_which_any_pair_of_rows_can_be_compared(lines):
    report, _ = lines
    read = list(reader.DictReader(io.StringIO(runs_csv(report), newline="")))
    assert [(line["label"], int(line["seed"])) for line in read] == [
        (label, seed) for label in VALUES for seed in (0, 1)
    ]
    for line in read:
        loss = dict(enumerate(VALUES[line["label"]])).get(int(line["seed"]))
        assert line["corpus/mean/loss"] == ("" if loss is None else repr(loss))
        assert line["state"] == ("missing" if loss is None else "finished")
    assert read[2]["run"] == "DHC×1-0"
