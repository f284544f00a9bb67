from dataclasses import replace
from pathlib import Path

import pytest

from hcexp.paper import printed, table
from hcexp.study.sweep import Outcome, Row, Sweep, load_sweep
from tests.registered import MODES

SWEEPS = Path(__file__).parents[2] / "sweeps"
GOOD = """
title: A question
table: 1
baseline: base
seeds: [0, 3]
overrides: [trainer.max_steps=10]
rows:
  - {label: base, overrides: [residual=pre_norm]}
  - {label: other, overrides: [residual=dhc, residual.n=2]}
"""


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_sweep_is_read_whole(tmp_path):
    write(tmp_path, GOOD)
    assert load_sweep("mine", tmp_path) == Sweep(
        name="mine",
        title="A question",
        table=1,
        baseline="base",
        rows=(Row("base", ("residual=pre_norm",)), Row("other", ("residual=dhc", "residual.n=2"))),
        seeds=(0, 3),
        overrides=("trainer.max_steps=10",),
    )


def test_a_users_own_file_and_defaults(tmp_path):
    path = write(tmp_path, "title: t\nbaseline: a\nrows: [{label: a}]\n", "own")
    sweep = load_sweep(path, SWEEPS)
    assert (sweep.name, sweep.table, sweep.seeds, sweep.overrides) == ("own", None, (0,), ())
    assert sweep.rows == (Row("a", ()),)


@pytest.mark.parametrize(("name", "number"), [("table1", 1), ("table2", 2), ("table3", 3), ("table4", 4), ("quick", 1)])
def test_shipped_sweeps_have_the_papers_rows(name, number):
    sweep = load_sweep(name, SWEEPS)
    labels = [row.label for row in sweep.rows]
    assert sweep.table == number
    assert all(printed(number, label) for label in labels)
    extra = ["OLMo-1B"] if number == 3 else []
    assert labels == [*extra, *table(number).labels], "the paper's rows, in its order"
    assert sweep.rows[0].overrides == ("residual=pre_norm",)
    header = (SWEEPS / f"{name}.yaml").read_text(encoding="utf-8").split("title:")[0]
    assert f"Table {number}" in header and f"make sweep SWEEP={name}" in header


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "quick"])
def test_labels_and_overrides_of_shipped_sweeps_mean_the_same(name):
    for row in load_sweep(name, SWEEPS).rows[1:]:
        knobs = dict(override.split("=") for override in row.overrides)
        kind, n = row.label.split(",")[0].split()[0].split("×")
        assert knobs["residual"] == kind.lower() and knobs["residual.n"] == n
        if kind == "DHC":
            assert knobs["residual.tanh"] == ("false" if "W/O tanh" in row.label else "true")
        assert knobs.get("residual.train_wc", "true") == ("false" if "WC frozen" in row.label else "true")
        assert knobs.get("residual.train_b", "true") == ("false" if "B frozen" in row.label else "true")


def test_table_4_compares_the_papers_related_methods():
    knobs = {row.label: row.overrides for row in load_sweep("table4", SWEEPS).rows}
    assert knobs["ResiDual"] == ("residual=resi_dual",) and knobs["Altup×2"] == ("residual=altup", "residual.n=2")
    assert knobs["DHC×2 W/O tanh"] == ("residual=dhc", "residual.n=2", "residual.tanh=false")


def test_the_sweep_of_modes_has_all_of_them():
    chosen = {row.overrides[0].removeprefix("residual=") for row in load_sweep("modes", SWEEPS).rows}
    assert chosen == set(MODES)


def test_quick_is_table_1_under_one_seed():
    quick, first = load_sweep("quick", SWEEPS), load_sweep("table1", SWEEPS)
    assert quick.rows == first.rows and quick.baseline == first.baseline and len(quick.seeds) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("table: 1", "tabel: 1", "unknown key 'tabel'. Did you mean table? Allowed: title, table"),
        ("label: other, overrides", "label: other, override", "row 2: unknown key 'override'. Did you mean overrides"),
        ("label: other", "label: base", "label 'base' stands on more than one row"),
        ("baseline: base", "baseline: bass", "baseline 'bass' is not a row; rows are base, other"),
        ("[0, 3]", "[0, x]", "seed 'x' is not an integer"),
        ("[0, 3]", "[true]", "seed True is not an integer"),
        ("[0, 3]", "[-1]", "seed -1 is not an integer of 0 or more"),
        ("[0, 3]", "[1.0]", "seed 1.0 is not an integer"),
        ("[0, 3]", "[2, 2]", "seed 2 is given more than once"),
        ("[0, 3]", "[]", "seeds is empty"),
        ("[0, 3]", "3", "seeds 3 is not a list"),
        ("table: 1", "table: 99", "paper table 99: the paper has Tables 1 to 19"),
        ("table: 1", "table: 12", "paper table 12: it lists settings"),
        ("table: 1", "table: one", "table 'one' is not the number of a table"),
        ("title: A question", "", "title is missing"),
        ("title: A question", "title: 7", "title 7 is not a text"),
        ("label: other", "label: 4", "row 2: label 4 is not a text"),
        ("{label: other, overrides: [residual=dhc, residual.n=2]}", "other", "row 2 is not a mapping"),
        ("[residual=dhc, residual.n=2]", "[residual]", "override 'residual' is not of the form key=value"),
        ("[residual=dhc, residual.n=2]", "residual=dhc", "overrides 'residual=dhc' is not a list"),
        ("title: A question", "title: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_answered_in_one_line_that_names_it(tmp_path, old, new, said):
    assert old in GOOD
    write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ValueError) as error:
        load_sweep("mine", tmp_path)
    message = str(error.value)
    assert said in message and message.startswith("sweep mine") and "\n" not in message


@pytest.mark.parametrize("rows", ["[]", "null", "{}"])
def test_rows_must_be_there(tmp_path, rows):
    write(tmp_path, f"title: t\nbaseline: a\nrows: {rows}\n")
    with pytest.raises(ValueError, match="sweep mine: rows"):
        load_sweep("mine", tmp_path)


@pytest.mark.parametrize("text", ["", "- a\n", "word\n"])
def test_a_file_that_is_no_mapping(tmp_path, text):
    write(tmp_path, text)
    with pytest.raises(ValueError, match="must be a mapping with the keys title, table"):
        load_sweep("mine", tmp_path)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        FileNotFoundError, match=r"no sweep 'tabel1'\. Did you mean table1\? Available: .*quick.*table3"
    ):
        load_sweep("tabel1", SWEEPS)
    with pytest.raises(FileNotFoundError, match=r"no sweep 'zzzz'\. Available: "):
        load_sweep("zzzz", SWEEPS)
    with pytest.raises(FileNotFoundError, match="sweep file nowhere/mine.yaml does not exist"):
        load_sweep("nowhere/mine.yaml", SWEEPS)


def test_other_seeds_are_checked_too():
    sweep = load_sweep("quick", SWEEPS)
    assert replace(sweep, seeds=(0, 1)).seeds == (0, 1)
    with pytest.raises(ValueError, match="seed 1 is given more than once"):
        replace(sweep, seeds=(1, 1))


def test_an_outcome_has_a_known_state():
    with pytest.raises(ValueError, match="'done': allowed are finished, failed, missing"):
        Outcome("a", 0, "done", Path())
