"""Tables of costs, of the terminal and the report alike."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hcexp.configuration import compose
from hcexp.cost.rows import Row
from hcexp.cost.tables import Line, cost_table, lines_of, measured_tables, write_csv
from hcexp.paper import printed
from hcexp.tables.table import Column
from tests.cost.shared import SMALL, STEP, cells


@pytest.fixture(scope="module")
def lines():
    """Pre-norm and DHC×2, counted and measured."""
    modes = {"plain": ["residual=pre_norm"], "DHC×2": ["residual=dhc", "residual.n=2"]}
    counted = lines_of([Row(label, compose([*SMALL, *mode])) for label, mode in modes.items()])
    return [replace(line, measured=STEP) for line in counted]


def paper_of(total, *overrides, plain=False):
    counted = SimpleNamespace(plain=plain, parameters=SimpleNamespace(total=total))
    return Line("mine", compose(list(overrides)), counted, False).paper.get("total_gflops")


def test_the_papers_numbers_stand_beside_the_papers_models_alone():
    of = {(model, label): printed(7, label).row["total_exact"] for model, label in (
        ("1b", "OLMo-1B"), ("1b", "DHC×4"), ("7b", "OLMo-7B"), ("7b", "OLMo-7B-DHC×4"))}  # fmt: skip
    for (model, label), total in of.items():
        plain = "DHC" not in label
        mode = ["residual=pre_norm"] if plain else ["residual=dhc", "residual.n=4"]
        assert paper_of(total, f"model={model}", *mode, plain=plain) == printed(8, label).row["total_gflops"]
        assert paper_of(total + 1, f"model={model}", *mode, plain=plain) is None  # another size
    dhc = of["1b", "DHC×4"]
    for knob in ("residual.tanh=false", "residual.norm_affine=true"):
        assert paper_of(dhc, "model=1b", "residual=dhc", "residual.n=4", knob) is None
    assert paper_of(dhc, "model=1b", "residual=dhc", "residual.n=8") is None  # in Table 1, but not in Table 8
    assert paper_of(of["7b", "OLMo-7B-DHC×4"], "model=7b", "residual=dhc", "residual.n=2") is None
    assert paper_of(of["1b", "OLMo-1B"], "model=1b", "residual=post_norm") is None  # no other baseline


def test_a_reports_table_has_what_was_counted_and_measured_and_what_the_runs_say(lines):
    table = cost_table(lines, [(Column("of the runs", "Runs"), lambda row: "1.5")], ["what is missing"])
    assert [(column.group, column.header) for column in table.columns] == [
        ("", "row"),
        ("Counted", "parameters"),
        ("Counted", "more %"),
        ("Counted", "forward MFLOPs a token"),
        ("Counted", "more %"),
        ("By formula", "activations MB"),
        ("By formula", "more %"),
        ("Runs", "of the runs"),
        ("Training steps, interleaved", "step time, ratio"),
        ("Training steps, interleaved", "quartiles"),
        ("Training steps, interleaved", "step's peak memory, ratio"),
    ]
    # 2 blocks of d = 32 and inner = 32, and 128 rows; DHC×2 has 4 modules of n(n+2) + d(n+2) + 2.
    plain, own, operations = 128 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 32), 4 * (8 + 4 * 32 + 2), 4 * 2 * 2 * 32 * 8
    found = cells(table)
    formula = 16 * 2 * 32 * 2 * 34 + 5 * 2 * 16 * 16 * 2 * 2
    assert found["plain"][:4] == [f"{plain:,}", "–", f"{2 * plain / 1e6:.4f}", "–"]
    assert found["plain"][4:] == [f"{formula / 1e6:.3f}", "–", "1.5", "–", "–", "–"] and table.strong == 0
    streams = 100 * 2 * 2 * 16 * 2 * 32 * 2 / formula
    assert found["DHC×2"] == [
        *(f"{plain + own:,}", f"+{100 * own / plain:.5f}", f"{(2 * plain + operations) / 1e6:.4f}"),
        *(f"+{100 * operations / (2 * plain):.3f}", f"{formula * (1 + streams / 100) / 1e6:.3f}", f"+{streams:.2f}"),
        *("1.5", "1.250", "1.200 to 1.312", "1.062"),
    ]
    flops, activations, steps, missing = table.notes
    assert "a multiply-add is 2" in flops and "2 sequences of 16 tokens" in activations and missing == "what is missing"
    assert "NVIDIA H200, median and quartiles of 15 rounds" in steps and steps.endswith(f"with: {STEP.command}")


def test_what_nobody_knows_is_left_out(lines):
    bare = [replace(line, predicted=None, measured=None) for line in lines]
    assert cells(cost_table(bare)) == {"plain": [], "DHC×2": []} and cost_table(bare).notes == ()
    of_one = cells(cost_table([bare[0], replace(lines[1], measured=None)]))
    assert set(of_one["plain"]) == {"–"} and of_one["DHC×2"][1::2] == ["–"] * 3 and of_one["DHC×2"][0] != "–"
    unknown = replace(lines[1], predicted=replace(lines[1].predicted, expansion_rate=None))
    found = cells(cost_table([lines[0], unknown]))
    assert found["DHC×2"][4:6] == ["–", "–"] and found["plain"][4] != "–", "the formula says nothing of such a mode"


def test_the_utilisation_of_a_gpu_that_is_known_is_shown(lines):
    (table,) = measured_tables(lines)
    plain = lines[0]
    assert plain.utilisation == (plain.predicted.flops.training + 3 * plain.predicted.attention) * 1e6 / 989e12
    assert table.columns[-1].header == "utilisation" and cells(table)["plain"][0] == "1,234.5"
    on_cpu = [replace(line, measured=replace(STEP, device="2 CPU threads")) for line in lines]
    (table,) = measured_tables(on_cpu)
    assert on_cpu[0].utilisation is None and table.columns[-1].header != "utilisation"


def test_half_a_table_does_not_stay(lines, tmp_path):
    (tmp_path / "cost.csv").mkdir()
    with pytest.raises(OSError):
        write_csv(lines, tmp_path / "cost.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["cost.csv"]


def test_what_is_frozen_does_not_train():
    line = lines_of([Row("shc", compose([*SMALL, "residual=shc", "residual.n=2", "residual.train_b=false"]))])[0]
    assert (line.predicted.parameters.residual, line.predicted.parameters.frozen) == (4 * 8, 4 * 2)
