import csv as reader
import io

import pytest

from hcexp.report.export import csv, runs_csv
from hcexp.report.report import build

VALUES = {"OLMo-1B": [1 / 3, 2 / 3], "DHC×1": [0.1, 0.2], 'a, "b" c': [0.3, 0.7], "DHC×4": [0.25]}
LOSS = "corpus/mean/loss"


def read(text):
    return list(reader.DictReader(io.StringIO(text, newline="")))


def quantities(report):
    return {(line["row"], line["quantity"]): line for line in read(csv(report))}


@pytest.fixture
def report(sweep, losses):
    return build(sweep(labels=tuple(VALUES), seeds=(0, 1)), losses(VALUES), "tiny")


def test_every_number_comes_back_exactly(report):
    lines = quantities(report)
    for label in VALUES:
        line, value = lines[label, LOSS], report.results.mean(label, LOSS)
        assert (float(line["value"]), int(line["seeds"])) == (value.mean, value.count)
        assert line["half width"] == ("" if value.half_width is None else repr(value.half_width))
        if difference := report.results.difference(label, LOSS):
            assert float(line["difference"]) == difference.mean and line["against"] == "OLMo-1B"
    assert [lines[label, LOSS]["sign as paper"] for label in VALUES] == ["", "False", "", "True"]
    assert float(lines["DHC×1", f"{LOSS}, planned"]["p"]) == report.results.difference("DHC×1", LOSS).p_value
    assert [lines.get((label, "paper v2_loss"), {}).get("paper") for label in VALUES] == [
        "2.811",
        "2.819",
        None,
        "2.781",
    ]
    assert not [name for _, name in lines if name.startswith(("v2/", "v3/"))]


def test_every_run_has_a_line_from_which_any_pair_of_rows_can_be_compared(report):
    lines = read(runs_csv(report))
    assert [(line["label"], int(line["seed"])) for line in lines] == [
        (label, seed) for label in VALUES for seed in (0, 1)
    ]
    for line in lines:
        loss = dict(enumerate(VALUES[line["label"]])).get(int(line["seed"]))
        assert line[LOSS] == ("" if loss is None else repr(loss))
        assert line["state"] == ("missing" if loss is None else "finished")
    assert lines[2]["run"] == "DHC×1-0"


def test_budgets_and_costs_are_unrounded(whole_report):
    lines, label = quantities(whole_report), "DHC×4"
    (budgets,), cost = whole_report.budgets, whole_report.costs.rows[-1]
    at = budgets.readings["flops"][label]
    found = lines[label, f"{LOSS} at equal training FLOPs"]
    assert (float(found["value"]), float(found["difference"])) == (at.value.mean, at.difference.mean)
    share = lines[label, f"{LOSS} at equal training FLOPs, read at share of tokens"]
    assert float(share["value"]) == at.read.mean
    assert float(lines[label, f"{LOSS} convergence ratio"]["value"]) == budgets.convergence[label].mean.mean
    assert int(lines[label, "parameters"]["value"]) == cost.predicted.parameters.total
    assert float(lines[label, "training FLOPs per token"]["value"]) == cost.predicted.flops.training
    assert int(lines[label, "activation bytes by formula"]["value"]) == cost.predicted.activations
    assert float(lines[label, "run's tokens per second over baseline"]["value"]) == cost.speed.mean
    assert not any("interleaved" in quantity for _, quantity in lines), "nothing was timed in turn"
