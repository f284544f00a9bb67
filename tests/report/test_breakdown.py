import csv as reader
import io
import math

import pytest

from hcexp.paper import listing, table
from hcexp.report.export import csv
from hcexp.report.report import build
from tests.report.read import by_label

V2 = {f"v2/{name}/loss": 3.0 for name in (*listing(13)["v2"], "mean")}
V3 = {f"v3/{name}/perplexity": 20.0 for name in (*listing(13)["v3"], "mean")}
TASKS = {f"downstream/{name}/accuracy": 0.9 for name in (*listing(13)["downstream"], "mean")}


def tables(report):
    """The folded tables by title: the lines by label, and the notes."""
    found = [section for section in report.sections if section.folded]
    return {made.title: (by_label(made), " ".join(made.notes)) for section in found for made in section.tables}


def one(report):
    ((title, (rows, notes)),) = tables(report).items()
    return title, rows, notes


def test_measured_stands_beside_the_paper_under_the_same_label(evaluated):
    title, rows, notes = one(build(*evaluated(V2), "tiny"))
    assert title == "V2 loss of each set, beside Table 16 of the paper"
    row = rows["DHC×2 W/O tanh"]
    # Seeds 2.75 and 3.25 have mean 3 and t interval 12.7062 · 0.25; both are 0.25 below the baseline's.
    half = math.tan(0.475 * math.pi) * 0.25
    assert (row["pile paper"], row["pile"], row["Δ pile"]) == ("2.231", f"3.000 ± {half:.3f}", "−0.250 ± 0.000")
    assert (rows["OLMo-1B"]["pile paper"], rows["OLMo-1B"]["Δ pile"]) == ("2.250", "–")
    assert (rows["mHC×4"]["pile paper"], rows["mHC×4"]["Δ pile"]) == ("–", "−0.500 ± 0.000")
    assert row["mean paper"] == "2.792" and list(row)[-1] == "Δ mean"
    assert rows["OLMo-1B"]["twitterAEE paper"] == "3.672", "the paper spells it otherwise there"
    assert "below 0 the row is better" in notes and "E5" in notes


def test_exchanged_labels_are_put_right_and_said_to_be(evaluated):
    _, rows, notes = one(build(*evaluated(V3), "tiny"))
    right = table(19, corrected=True).row("DHC×2 W/O tanh")
    assert rows["DHC×2 W/O tanh"]["pile paper"] == f"{right['pile']:.3f}" != f"{table(19).rows[2]['pile']:.3f}"
    assert "stand under their right labels" in notes and "E4" in notes


def test_accuracies_are_percent_and_volatile_tasks_are_marked(evaluated):
    title, rows, notes = one(build(*evaluated(TASKS), "tiny"))
    assert title == "downstream accuracy % of each task, beside Table 15 of the paper"
    row = rows["DHC×2 W/O tanh"]
    assert (row["copa paper"], row["copa"].split()[0], row["Δ copa"]) == ("74.0", "90.0", "−25.0 ± 0.0")
    assert "rte *" in row and "rte * paper" not in row and row["mean paper"] == "63.8"
    assert "above 0 the row is better" in notes and "* Volatile" in notes and "E4" not in notes


@pytest.mark.parametrize(
    ("metrics", "left_out"),
    [
        (TASKS, False),
        ({name: v for name, v in TASKS.items() if "/rte/" not in name}, False),
        ({name: v for name, v in TASKS.items() if "/copa/" not in name}, True),
        ({**TASKS, "downstream/boolq/accuracy": 0.9}, True),
        ({name: v for name, v in V2.items() if "/ptb/" not in name}, True),
    ],
)
def test_the_papers_mean_stands_only_beside_a_mean_of_the_same(evaluated, metrics, left_out):
    _, rows, notes = one(build(*evaluated(metrics), "tiny"))
    assert (rows["OLMo-1B"]["mean paper"] == "–") is left_out
    assert ("paper's mean is left out" in notes) is left_out


@pytest.mark.parametrize("suite", ["corpus", "local"])
def test_other_suites_and_other_rows_have_no_column_of_the_paper(evaluated, suite):
    metrics = {f"{suite}/{name}/{measure}": 3.0 for name in ("a", "mean") for measure in ("loss", "perplexity")}
    found = tables(build(*evaluated(metrics, table=1), "tiny"))
    assert list(found) == [f"{suite} loss of each set", f"{suite} ppl of each set"]
    assert list(found[f"{suite} loss of each set"][0]["OLMo-1B"]) == ["row", "a", "Δ a", "mean", "Δ mean"]
    title, rows, _ = one(build(*evaluated(V2, labels=("Pre-Norm", "mHC×4")), "tiny"))
    assert title == "V2 loss of each set" and not any("paper" in header for header in rows["mHC×4"])


def test_rows_measured_on_other_sets_are_named_and_keep_theirs(evaluated, finished):
    sweep, outcomes = evaluated({**V2, **TASKS})
    for name in ("v2/ptb/loss", "downstream/copa/accuracy"):
        del outcomes[-1].metrics[name]
    report = build(sweep, outcomes, "tiny")
    said = [warning for warning in report.warnings if "means cannot be compared" in warning]
    assert ["sets of V2" in said[0], "downstream tasks" in said[1], len(said)] == [True, True, 2]
    assert all("5 agree, these do not: mHC×4, seed 1" in each for each in said)
    assert tables(report)["V2 loss of each set, beside Table 16 of the paper"][0]["mHC×4"]["ptb"] == "2.500"
    report = build(sweep, [*outcomes[:-1], finished("mHC×4", 1, 1.0, suite="corpus")], "tiny")
    assert not any("sets of V2" in warning for warning in report.warnings), "it was not measured on that suite at all"


def test_every_number_is_in_the_csv_and_shares_stay_shares(evaluated):
    report = build(*evaluated({**V2, **TASKS}), "tiny")
    read = list(reader.DictReader(io.StringIO(csv(report), newline="")))
    lines = {(line["row"], line["quantity"]): line for line in read}
    assert {(label, name) for label in report.results.labels for name in (*V2, *TASKS)} <= set(lines)
    line = lines["OLMo-1B", "downstream/copa/accuracy"]
    assert (line["paper"], line["paper table"], line["seeds"], line["difference"]) == ("76.0", "15", "2", "")
    assert float(line["value"]) == pytest.approx(1.15)


def test_nothing_evaluated_has_no_section(sweep, losses):
    assert tables(build(sweep(seeds=(0,)), losses({"OLMo-1B": [4.0]}), "tiny")) == {}
