import csv as reader
import io
import math

import pytest

from hcexp.paper import listing, table
from hcexp.report import build, csv, html, markdown, parts_csv
from hcexp.report.parts_grid import parts_grid, parts_title

V2 = {f"v2/{name}/loss": 3.0 for name in (*listing(13)["v2"], "mean")}
V3 = {f"v3/{name}/perplexity": 20.0 for name in (*listing(13)["v3"], "mean")}
TASKS = {f"downstream/{name}/accuracy": 0.9 for name in (*listing(13)["downstream"], "mean")}


def tables(report):
    """Of each table, by its title: {label: {header: text}}, and the notes."""
    found = {}
    for parts in report.parts:
        content = parts_grid(report, parts)
        headers = [column.header for column in content.columns]
        lines = [dict(zip(headers, (cell.text for cell in row), strict=True)) for row in content.rows]
        found[parts_title(report, parts)] = {line["row"]: line for line in lines}, " ".join(content.notes)
    return found


def one(report):
    """The only table."""
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
    assert "below 0 the row is better" in notes and "E5" in notes


def test_a_set_that_the_paper_spells_otherwise_has_its_number(evaluated):
    assert one(build(*evaluated(V2), "tiny"))[1]["OLMo-1B"]["twitterAEE paper"] == "3.672"


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
def test_other_suites_have_no_column_of_the_paper(evaluated, suite):
    metrics = {f"{suite}/{name}/{measure}": 3.0 for name in ("a", "mean") for measure in ("loss", "perplexity")}
    found = tables(build(*evaluated(metrics, table=1), "tiny"))
    assert list(found) == [f"{suite} loss of each set", f"{suite} ppl of each set"]
    assert list(found[f"{suite} loss of each set"][0]["OLMo-1B"]) == ["row", "a", "Δ a", "mean", "Δ mean"]


def test_without_a_row_of_the_paper_there_is_no_column_of_it(evaluated):
    title, rows, _ = one(build(*evaluated(V2, labels=("Pre-Norm", "mHC×4")), "tiny"))
    assert title == "V2 loss of each set" and not any("paper" in header for header in rows["mHC×4"])


def test_rows_measured_on_other_sets_are_named_and_keep_theirs(evaluated):
    sweep, outcomes = evaluated({**V2, **TASKS})
    for name in ("v2/ptb/loss", "downstream/copa/accuracy"):
        del outcomes[-1].metrics[name]
    report = build(sweep, outcomes, "tiny")
    said = [warning for warning in report.warnings if "means cannot be compared" in warning]
    assert ["sets of V2" in said[0], "downstream tasks" in said[1], len(said)] == [True, True, 2]
    assert all("5 agree, these do not: mHC×4, seed 1" in each for each in said)
    assert tables(report)["V2 loss of each set, beside Table 16 of the paper"][0]["mHC×4"]["ptb"] == "2.500"


def test_a_row_that_was_not_measured_on_a_suite_is_not_warned_of(evaluated, finished):
    sweep, outcomes = evaluated(V2)
    report = build(sweep, [*outcomes[:-1], finished("mHC×4", 1, 1.0, suite="corpus")], "tiny")
    assert not any("cannot be compared" in warning for warning in report.warnings)


def test_every_number_is_in_the_csv_and_shares_stay_shares(evaluated):
    report = build(*evaluated({**V2, **TASKS}), "tiny")
    lines = list(reader.DictReader(io.StringIO(parts_csv(report), newline="")))
    assert len(lines) == 3 * (len(V2) + len(TASKS))
    (line,) = [each for each in lines if (each["label"], each["set or task"]) == ("OLMo-1B", "copa")]
    assert (line["measure"], line["paper"], line["paper table"], line["value seeds"]) == ("accuracy", "76.0", "15", "2")
    assert float(line["value"]) == pytest.approx(1.15) and line["value difference"] == ""
    assert csv(report).count("\n") == 1 + 3, "the other file keeps a line a row"


def test_the_tables_are_folded_in_page_and_markdown(evaluated):
    report = build(*evaluated(V2), "tiny")
    page = html(report)
    assert '<summary id="parts-1">V2 loss of each set, beside Table 16 of the paper</summary>' in page
    assert 'aria-labelledby="parts-1"' in page and "<details open" not in page
    folded = "<summary>V2 loss of each set, beside Table 16 of the paper</summary>\n\n| row | 4chan paper | 4chan |"
    assert folded in markdown(report)


def test_nothing_evaluated_has_no_section(sweep, losses):
    report = build(sweep(seeds=(0,)), losses({"OLMo-1B": [4.0]}), "tiny")
    assert report.parts == () and parts_csv(report) == ""
    assert "Sets and tasks" not in html(report) + markdown(report)
