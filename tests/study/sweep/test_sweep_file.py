from pathlib import Path

import pytest
import yaml

from hcexp.configuration import shipped
from hcexp.paper import table
from hcexp.study.sweep.sweep import Row, Sweep
from hcexp.study.sweep.sweep_file import load_sweep
from tests.registered import MODES

SWEEPS = shipped("sweeps")
GOOD = """
title: A question
question: Which is better?
table: 1
baseline: base
seeds: [0, 3]
overrides: [trainer.max_steps=10]
rows:
  - {label: base, overrides: [residual=pre_norm]}
  - {label: other, overrides: [residual=dhc, residual.n=2]}
contrasts: [{row: other, against: base}]
"""
GRID = """
title: A question
baseline: n=1, tanh=false
grid:
  residual.n: [1, 2]
  residual.tanh: [false, true]
"""
SEARCH = """
title: A question
baseline: base
search:
  knobs:
    optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
    schedule.warmup: {low: 10, high: 30, step: 5}
    schedule: {choices: [cosine, linear]}
  trials: 12
  validations: 5
  pruner: {name: median, n_startup_trials: 3}
rows: [{label: base}, {label: other, overrides: [residual=dhc]}]
"""


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_sweeps_grids_and_searches_are_read_whole(tmp_path):
    write(tmp_path, GOOD)
    rows = (Row("base", ("residual=pre_norm",)), Row("other", ("residual=dhc", "residual.n=2")))
    rest = {
        "contrasts": (("other", "base"),),
        "seeds": (0, 3),
        "overrides": ("trainer.max_steps=10",),
        "question": "Which is better?",
    }
    assert load_sweep("mine", tmp_path) == Sweep("mine", "A question", 1, "base", rows, **rest)
    own = load_sweep(write(tmp_path, "title: t\nbaseline: a\nrows: [{label: a}]\n", "own"), SWEEPS)
    assert own == Sweep("own", "t", None, "a", (Row("a"),))
    sweep = load_sweep(write(tmp_path, GRID), tmp_path)
    labels = ["n=1, tanh=false", "n=1, tanh=true", "n=2, tanh=false", "n=2, tanh=true"]
    assert [row.label for row in sweep.rows] == labels
    assert sweep.rows[1].overrides == ("residual.n=1", "residual.tanh=true") and sweep.search is None
    whole = "{name: median, n_startup_trials: 3}"
    for pruner, read in (("none", None), ("median", {"name": "median"}), (whole, yaml.safe_load(whole))):
        sweep = load_sweep(write(tmp_path, SEARCH.replace(whole, pruner)), tmp_path)
        space = sweep.search
        assert (space.trials, space.startup, space.validations, space.pruner) == (12, 5, 5, read)
        assert list(space.knobs) == ["optimizer.lr", "schedule.warmup", "schedule"]
        assert [row.label for row in sweep.rows] == ["base", "other"] and sweep.seeds == (0,)


def test_shipped_sweeps_ask_their_question_and_have_the_papers_rows():
    texts = {path.stem: path.read_text(encoding="utf-8") for path in SWEEPS.glob("*.yaml")}
    sweeps = {name: load_sweep(name, SWEEPS) for name in texts}
    for name, sweep in sweeps.items():
        assert sweep.question.endswith("?") and len(sweep.question) < 200
        assert "The question" not in texts[name], "it stands in one place"
    for name in ("table1", "table2", "table3", "table4", "quick"):
        sweep, header = sweeps[name], texts[name].split("title:")[0]
        number = 1 if name == "quick" else int(name[-1])
        assert sweep.table == number and sweep.rows[0].overrides == ("residual=pre_norm",)
        extra = ["OLMo-1B"] if number == 3 else []
        assert [row.label for row in sweep.rows] == [*extra, *table(number).labels]
        assert f"Table {number}" in header and f"make sweep SWEEP={name}" in header
        for row in sweep.rows[1:] if number < 4 else []:
            knobs = dict(override.split("=") for override in row.overrides)
            kind, n = row.label.split(",")[0].split()[0].split("×")
            assert knobs["residual"] == kind.lower() and knobs["residual.n"] == n
            if kind == "DHC":
                assert knobs["residual.tanh"] == ("false" if "W/O tanh" in row.label else "true")
            for knob, frozen in (("train_wc", "WC frozen"), ("train_b", "B frozen")):
                assert knobs.get(f"residual.{knob}", "true") == ("false" if frozen in row.label else "true")
    related = {row.label: row.overrides for row in sweeps["table4"].rows}
    assert related["ResiDual"] == ("residual=resi_dual",) and related["Altup×2"] == ("residual=altup", "residual.n=2")
    assert related["DHC×2 W/O tanh"] == ("residual=dhc", "residual.n=2", "residual.tanh=false")
    quick, first = sweeps["quick"], sweeps["table1"]
    assert quick.rows == first.rows and quick.baseline == first.baseline and len(quick.seeds) == 1


def test_shipped_sweeps_of_modes_have_all_of_them_and_the_tuned_range_every_scales_default():
    chosen = {row.overrides[0].removeprefix("residual=") for row in load_sweep("modes", SWEEPS).rows}
    assert chosen == set(MODES)
    sweep = load_sweep("tune_lr", SWEEPS)
    assert sorted(row.overrides for row in sweep.rows) == [(f"residual={mode}",) for mode in MODES]
    domain = sweep.search.knobs["optimizer.lr"]
    for path in shipped("conf").glob("scale/*.yaml"):
        default = yaml.safe_load(path.read_text())["optimizer"]["lr"]
        assert 1.9 * domain["low"] < float(default) < domain["high"] / 1.9, path.stem


OTHER = "[residual=dhc, residual.n=2]"
MEDIAN = "{name: median, n_startup_trials: 3}"


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (GOOD, "table: 1", "tabel: 1", "unknown key 'tabel'. Did you mean table? Allowed: title, question, table"),
        (GOOD, "label: other", "label: base", "label 'base' stands on more than one row"),
        (GOOD, "baseline: base", "baseline: bass", "baseline 'bass' is not a row; rows are base, other"),
        (GOOD, "against: base", "against: bass", "contrasts: 'bass' is not a row; rows are base, other"),
        (GOOD, "against: base", "against: other", "contrasts: 'other' stands against itself"),
        (GOOD, "against: base", "agianst: base", "contrasts: unknown key 'agianst'. Did you mean against?"),
        (GOOD, "[{row: other, against: base}]", "other", "contrasts must be a list of {row: …, against: …}"),
        (GOOD, "[0, 3]", "[true]", "seed True is not an integer"),
        (GOOD, "[0, 3]", "[-1]", "seed -1 is not an integer of 0 or more"),
        (GOOD, "[0, 3]", "[2, 2]", "seed 2 is given more than once"),
        (GOOD, "[0, 3]", "[]", "seeds is empty"),
        (GOOD, "table: 1", "table: 12", "paper table 12: it lists settings"),
        (GOOD, "table: 1", "table: one", "table 'one' is not the number of a table"),
        (GOOD, "title: A question", "", "title is missing"),
        (GOOD, "question: Which is better?", "question: [a]", "question ['a'] is not a text"),
        (GOOD, "label: other", "label: 4", "row 2: label 4 is not a text"),
        (GOOD, f"{{label: other, overrides: {OTHER}}}", "other", "row 2 is not a mapping with the keys label"),
        (GOOD, OTHER, "[residual]", "override 'residual' is not of the form key=value"),
        (GOOD, OTHER, "residual=dhc", "overrides 'residual=dhc' is not a list"),
        (GOOD, "title: A question", "title: [", "not YAML"),
        (GRID, "[1, 2]", "2", "grid: residual.n 2 is not a list of values"),
        (GRID, "[1, 2]", "[1, 1]", "grid: residual.n: 1 is given more than once"),
        (GRID, "[1, 2]", "[1, [2]]", "grid: residual.n: [2] is not a number, true, false, a text or null"),
        (GRID, "residual.n", "seed", "grid: seed cannot be a knob of a sweep: use --seeds"),
        (GRID, "residual.n", "+residual.n", "grid: knob '+residual.n' is not a plain name"),
        (GRID, "residual.n", "7", "grid: knob 7 is not a text"),
        (GRID, "\n  residual.n: [1, 2]\n  residual.tanh: [false, true]", " []", "grid [] is not a mapping of knobs"),
        (SEARCH, "trials: 12", "trails: 12", "search: unknown key 'trails'. Did you mean trials?"),
        (SEARCH, "trials: 12", "trials: 0", "search: trials 0 is not an integer of 1 or more"),
        (SEARCH, "validations: 5", "validations: 0", "search: validations 0 is not an integer of 1 or more"),
        (SEARCH, "low: 1.0e-4", "low: 1e-4", "optimizer.lr: low '1e-4' is not a number (YAML reads 3e-4 as a text"),
        (SEARCH, "low: 1.0e-4", "low: .nan", "optimizer.lr: low nan is not a number"),
        (SEARCH, "low: 1.0e-4", "low: 1.0", "optimizer.lr: low 1.0 must be less than high 0.01"),
        (SEARCH, "low: 1.0e-4", "low: 0.0", "optimizer.lr: `low > 0` must hold for `log=True`"),
        (SEARCH, "log: true", "log: 1", "optimizer.lr: log 1 is not true or false"),
        (SEARCH, "{choices: [cosine, linear]}", "[cosine, linear]", "schedule is not a mapping with the keys low"),
        (SEARCH, "[cosine, linear]}", "[cosine], low: 1}", "schedule: unknown key 'low'. Allowed: choices"),
        (SEARCH, "name: median", "name: medain", "pruner: 'medain' is not known; choose from median, percentile"),
        (SEARCH, "n_startup_trials", "startup_trials", "median has no setting 'startup_trials'. Did you mean n_"),
        (SEARCH, "n_startup_trials: 3", "n_startup_trials: x", "pruner: median: "),
        (SEARCH, MEDIAN, "percentile", "pruner: percentile: "),
        (SEARCH, MEDIAN, "3", "pruner 3 is neither a name nor a mapping"),
        (SEARCH, "rows:", "seeds: [0, 1]\nrows:", "a search has one seed, not 2: "),
        (GOOD, "title: A question", r'"title": "A\e[2J"', r"'A\x1b[2J' has a control character"),
        (GOOD, "label: other", r'"label": "a\nb"', r"label 'a\nb' has a control character"),
        (GOOD, "residual=dhc", '"model._target_=os.system"', "'model._target_=os.system' names code"),
        (GOOD, "residual=dhc", '"steps=${oc.env:HOME}"', "'steps=${oc.env:HOME}' names code, and the file holds data"),
        (GOOD, "residual=dhc", '"steps=${oc.${seed}:HOME}"', "names code"),
        (GOOD, "trainer.max_steps=10", '"+hydra.searchpath=[file:///x]"', "hydra.searchpath is not for a file to set"),
        (GOOD, "residual=dhc", "hydra/launcher=x", "row 2: hydra/launcher is not for a file to set"),
        (GOOD, "residual=dhc", "residual=../../x/mine", "residual=../../x/mine is not a choice of residual"),
        (GOOD, "residual=dhc", "'+callbacks=[default, ../../x]'", "is not a choice of callbacks"),
        (GRID, "residual.n: [1, 2]", "residual: [dhc, ../../x]", "is not a choice of residual: it must be a name"),
        (GRID, "residual.n: [1, 2]", "model._target_: [os.system]", "'model._target_' names code"),
        (SEARCH, "[cosine, linear]", "[cosine, ../../x]", "is not a choice of schedule"),
        (SEARCH, "n_startup_trials: 3", "x: {y: [{_target_: os.system}]}", "'_target_' names code"),
    ],
)
def test_a_wrong_file_is_answered_in_one_line_that_names_it(tmp_path, text, old, new, said):
    assert old in text
    write(tmp_path, text.replace(old, new, 1))
    with pytest.raises(ValueError) as error:
        load_sweep("mine", tmp_path)
    message = str(error.value)
    assert said in message and message.startswith("sweep mine") and message.isprintable()


def test_a_file_that_is_no_mapping_or_has_no_rows_or_is_nested_out_of_sight(tmp_path):
    head, deep = "title: t\nbaseline: a\n", "[" * 1000 + "]" * 1000
    wrong = {
        "- a\n": "must be a mapping with the keys title, question, table",
        head: "rows is missing; give rows, or a grid, or both",
        f"{head}rows: []": "rows is empty",
        f"{head}rows: null": "rows must be a list",
        f"{head}rows: {deep}": "sweep mine.yaml: it is nested too deeply",
        f"{head}rows: [{{label: a, overrides: ['x={deep}']}}]": "is not of the form key=value",
        f"{head}rows: &rows [*rows]": "row 1 is not a mapping",
    }
    for text, said in wrong.items():
        write(tmp_path, text)
        with pytest.raises(ValueError, match=said) as error:
            load_sweep("mine", tmp_path)
        assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_an_unknown_name_is_answered_with_the_nearest():
    for name, said in (
        ("tabel1", r"no sweep 'tabel1'\. Did you mean table1\? Available: .*quick.*table3"),
        ("zzzz", r"no sweep 'zzzz'\. Available: "),
        ("nowhere/mine.yaml", "sweep file nowhere/mine.yaml does not exist"),
    ):
        with pytest.raises(FileNotFoundError, match=said):
            load_sweep(name, SWEEPS)
