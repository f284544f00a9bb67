from hcexp.report import build
from hcexp.report.grid import grid

VALUES = {
    "OLMo-1B": [4.00, 4.10, 4.30],
    "DHC×1": [3.98, 4.07, 4.29],
    "DHC×2": [4.10, 4.05, 4.29],
    "DHC×4": [3.90, 4.01, 4.22],
}


def table(report):
    """{label: {header: text}}, the label without its marks."""
    content = grid(report)
    headers = [column.header for column in content.columns]
    cells = [dict(zip(headers, (cell.text for cell in row), strict=True)) for row in content.rows]
    return {row.label: line for row, line in zip(report.rows, cells, strict=True)}


def test_the_papers_columns_come_first_and_measured_ones_carry_their_suite(sweep, losses):
    headers = list(table(build(sweep(), losses(VALUES), "tiny"))["DHC×4"])
    assert headers[:6] == [
        "row",
        "paper V2 loss",
        "paper V2 ppl",
        "paper V3 loss",
        "paper V3 ppl",
        "paper accuracy %",
    ]
    assert headers[6:10] == ["corpus loss", "corpus ppl", "corpus bits/byte", "Δ corpus loss"]
    measured = [header for header in headers[6:] if not header.startswith("sign as")]
    assert not any("V2" in header or "V3" in header for header in measured)


def test_v2_is_called_v2_only_where_it_was_evaluated(sweep, losses):
    headers = list(table(build(sweep(), losses(VALUES, suite="v2"), "tiny"))["DHC×4"])
    assert "V2 loss" in headers and "V3 loss" not in headers and "sign as V3 loss" not in headers


def test_cells(sweep, losses):
    metrics = {"train/spikes": 2.0, "train/spike_score": 0.0125, "downstream/mean/accuracy": 0.625}
    found = table(build(sweep(), losses(VALUES, metrics=metrics), "tiny"))
    row = found["DHC×4"]
    assert row["paper V2 ppl"] == "17.509" and row["paper accuracy %"] == "63.8"
    assert row["corpus loss"].startswith("4.043 ± 0.4") and row["Δ corpus loss"] == "−0.090 ± 0.025"
    assert (row["beyond noise"], row["seeds"]) == ("yes", "3")
    assert (row["spikes"], row["spike score %"], row["downstream accuracy %"]) == ("2.0", "1.25", "62.5 ± 0.0")
    # DHC×1 is better here and worse in the paper; DHC×2's interval takes in 0.
    assert found["DHC×1"]["sign as V2 loss"] == found["DHC×1"]["sign as V3 loss"] == "✗"
    assert row["sign as V2 loss"] == row["sign as V3 loss"] == "✓"
    assert found["DHC×2"]["beyond noise"] == "no"


def test_what_was_not_measured_shows_a_dash(sweep, losses):
    found = table(build(sweep(), losses(VALUES), "tiny"))
    for header in ("corpus ppl", "corpus bits/byte", "spikes", "spike score %", "downstream accuracy %"):
        assert {row[header] for row in found.values()} == {"–"}
    for header in ("Δ corpus loss", "beyond noise", "sign as V2 loss"):
        assert found["OLMo-1B"][header] == "–"


def test_one_seed_shows_bare_values(sweep, losses):
    report = build(sweep(seeds=(0,)), losses({label: values[:1] for label, values in VALUES.items()}), "tiny")
    row = table(report)["DHC×4"]
    assert (row["corpus loss"], row["Δ corpus loss"], row["beyond noise"]) == ("3.900", "−0.100", "–")
    assert not any("±" in note for note in grid(report).notes)


def test_incomplete_rows_are_marked_and_unpaired_seeds_are_told(sweep, losses):
    report = build(sweep(), losses({**VALUES, "OLMo-1B": [4.0, 4.1, None], "DHC×2": [None, 4.05, 4.29]}), "tiny")
    row = table(report)["DHC×2"]
    assert row["row"] == "DHC×2 †" and row["seeds"] == "2 of 3"
    assert row["Δ corpus loss"] == "−0.050 (1 of 2 paired)"
    assert table(report)["DHC×4"]["row"] == "DHC×4"
    assert any(note.startswith("†") for note in grid(report).notes)


def test_a_baseline_printed_elsewhere_is_marked(sweep, losses):
    report = build(sweep(labels=("OLMo-1B", "DHC×4"), table=3, seeds=(0,)), losses({"OLMo-1B": [4.0]}), "tiny")
    row = table(report)["OLMo-1B"]
    assert row["row"] == "OLMo-1B ‡" and row["paper V2 loss"] == "2.811"
    assert any("Table 3 has no row OLMo-1B" in note and "Table 1" in note for note in grid(report).notes)


def test_without_a_table_there_are_no_columns_of_the_paper(sweep, losses):
    headers = list(table(build(sweep(table=None), losses(VALUES), "tiny"))["DHC×4"])
    assert not any("paper" in header or "sign" in header for header in headers)
