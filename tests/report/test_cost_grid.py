import csv as reader
import io
from dataclasses import replace

import pytest

from hcexp.report import build, csv, html, markdown, show, write
from hcexp.report.cost_grid import cost_grid
from hcexp.report.costs import with_measured


@pytest.fixture
def report(costly):
    sweep, outcomes = costly()
    return build(sweep, outcomes, "tiny")


@pytest.fixture
def both(report, leave, measured, tmp_path):
    """The same report with measured steps."""
    totals = {row.label: row.predicted.parameters.total for row in report.costs.rows}
    slower = measured(parameters=totals["DHC×2"], step=1.25, step_low=1.2, step_high=1.3125, peak=1.0625)
    leave(tmp_path, {"OLMo-1B": measured(parameters=totals["OLMo-1B"]), "DHC×2": slower})
    return replace(report, costs=with_measured(report.costs, tmp_path))


def cells(report):
    """{label: texts in order} and the headers."""
    content = cost_grid(report)
    headers = [column.header for column in content.columns]
    return headers, {row[0].text: [cell.text for cell in row[1:]] for row in content.rows}


def test_counted_and_by_formula_and_of_the_runs(report):
    headers, rows = cells(report)
    assert headers[1:] == [
        "parameters",
        "more %",
        "forward MFLOPs a token",
        "more %",
        "activations MB",
        "more %",
        "run's tokens/s, ratio",
        "run's peak memory, ratio",
    ]
    # 2 blocks of d = 32 and inner = 32, and 4096 rows; DHC×2 has 4 modules of n(n+2) + d(n+2) + 2.
    plain = 4096 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 32)
    own = 4 * (8 + 4 * 32 + 2)
    operations = 4 * 2 * 2 * 32 * 8
    assert rows["OLMo-1B"] == [f"{plain:,}", "–", f"{2 * plain / 1e6:.4f}", "–", rows["OLMo-1B"][4], "–", "–", "–"]
    assert rows["DHC×2"][:3] == [
        f"{plain + own:,}",
        f"+{100 * own / plain:.5f}",
        f"{(2 * plain + operations) / 1e6:.4f}",
    ]
    assert rows["DHC×2"][3] == f"+{100 * operations / (2 * plain):.3f}"
    assert (
        rows["DHC×2"][5].startswith("+")
        and rows["DHC×2"][6].startswith("0.55 ± ")
        and rows["DHC×2"][7] == "1.25 ± 0.00"
    )


def test_the_formula_says_nothing_of_a_mode_it_does_not_know(report):
    plain, dhc = report.costs.rows
    unknown = replace(dhc, predicted=replace(dhc.predicted, expansion_rate=None))
    report = replace(report, costs=replace(report.costs, rows=(plain, unknown)))
    _, rows = cells(report)
    assert rows["DHC×2"][4:6] == ["–", "–"] and rows["OLMo-1B"][4] != "–"
    assert "covers hyper-connections alone" in " ".join(cost_grid(report).notes)


def test_runs_are_marked_as_not_interleaved(report):
    content = cost_grid(report)
    notes = " ".join(content.notes)
    assert "were not interleaved" in notes and "hcexp cost --sweep asked scale=tiny measure=true" in notes
    assert {column.group for column in content.columns} == {"", "counted", "formula", "runs"}
    assert "The runs themselves, not interleaved" in html(report)


def test_measured_steps_have_columns_with_device_and_command(both):
    headers, rows = cells(both)
    assert headers[-3:] == ["step time, ratio", "quartiles", "step's peak memory, ratio"]
    assert rows["OLMo-1B"][-3:] == ["–", "–", "–"] and rows["DHC×2"][-3:] == ["1.250", "1.200 to 1.312", "1.062"]
    notes = " ".join(cost_grid(both).notes)
    assert "a device, of a kind" in notes and "Measured with: hcexp cost --sweep asked measure=true" in notes
    assert "15 rounds" in notes and "an allocator" in notes


def test_nothing_known_of_the_baseline_leaves_what_is(costly):
    sweep, outcomes = costly()
    report = build(sweep, outcomes[2:], "tiny")
    headers, rows = cells(report)
    assert set(rows["OLMo-1B"]) == {"–"}
    assert rows["DHC×2"][0] != "–" and rows["DHC×2"][1] == rows["DHC×2"][-1] == "–"


def test_runs_without_a_configuration_show_their_speed(costly):
    sweep, outcomes = costly()
    bare = [replace(o, result={k: v for k, v in o.result.items() if k != "config"}) for o in outcomes]
    headers, rows = cells(build(sweep, bare, "tiny"))
    assert headers == ["row", "run's tokens/s, ratio", "run's peak memory, ratio"]
    assert rows["DHC×2"][1] == "1.25 ± 0.00"


def test_the_section_stands_in_markdown_and_html_and_not_in_the_terminal(both):
    from rich.console import Console

    text, page = markdown(both), html(both)
    lines = text[text.index("## Cost") :].splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4 and "1.250" in table[-1] and table[2].startswith("| **OLMo-1B** |")
    assert text.index("## Cost") < text.index("## Set-up")
    section = page[page.index('id="cost-title"') : page.index('id="curves-title"')]
    assert "1.250" in section and "Training steps, interleaved" in section and "not interleaved" in section
    console = Console(file=io.StringIO(), width=250)
    show(both, console)
    assert "FLOPs" not in console.file.getvalue()


def test_without_costs_there_is_no_section(sweep, losses):
    report = build(sweep(), losses({"OLMo-1B": [4.0], "DHC×4": [3.9]}), "tiny")
    assert "## Cost" not in markdown(report) and "cost-title" not in html(report)


def test_the_header_of_the_cost_table_spans_what_stands_below_it(both):
    page = html(both)
    section = page[page.index('id="cost-title"') : page.index('id="curves-title"')]
    spans = [int(part.split('"')[0]) for part in section.split('colspan="')[1:]]
    assert spans == [4, 2, 2, 3]


def test_labels_of_the_cost_table_are_text(costly):
    evil = "</td><script>alert(1)</script> | x"
    sweep, outcomes = costly(labels=("OLMo-1B", evil))
    report = build(sweep, outcomes, "tiny")
    text = markdown(report)
    lines = [line for line in text[text.index("## Cost") :].splitlines() if line.startswith("|")]
    assert "<script>alert" not in html(report) and len(lines) == 4
    assert "<script>" not in "\n".join(lines)


def test_costs_in_the_csv_are_unrounded(both):
    plain, dhc = reader.DictReader(io.StringIO(csv(both)))
    costs = both.costs.rows[1]
    assert int(dhc["parameters"]) == costs.predicted.parameters.total
    assert float(dhc["forward FLOPs per token"]) == costs.predicted.flops.forward
    assert float(dhc["training FLOPs per token"]) == costs.predicted.flops.training
    assert int(dhc["activation bytes by formula"]) == costs.predicted.activations
    assert float(dhc["run's tokens per second over baseline"]) == costs.speed.mean
    assert float(dhc["run's peak memory over baseline"]) == costs.memory.mean
    assert float(dhc["step time over baseline, interleaved"]) == 1.25
    assert dhc["device, interleaved"] == "a device, of a kind"
    assert float(plain["step time over baseline, interleaved"]) == 1


def test_costs_that_are_not_known_are_empty_cells(sweep, losses):
    line = next(reader.DictReader(io.StringIO(csv(build(sweep(), losses({"OLMo-1B": [4.0]}), "tiny")))))
    names = [name for name in line if "FLOPs" in name or "over baseline" in name or "interleaved" in name]
    assert len(names) >= 8 and {line[name] for name in names} == {""}


def test_what_lies_in_the_folder_joins_the_report(report, costly, leave, measured, tmp_path):
    assert "step time, ratio" not in markdown(report)
    total = report.costs.rows[1].predicted.parameters.total
    leave(tmp_path, {"DHC×2": measured(parameters=total, step=1.4375)})
    sweep, outcomes = costly()
    joined = build(sweep, outcomes, "tiny", folder=tmp_path)
    for text in (markdown(joined), csv(joined), html(joined)):
        assert "1.438" in text or "1.4375" in text
    write(joined, tmp_path)
    assert (tmp_path / "cost.csv").is_file()
