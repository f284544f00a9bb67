from pathlib import Path

import pytest
import yaml

from hcexp.configuration import shipped
from hcexp.paper import printed, table
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
    assert load_sweep("mine", tmp_path) == Sweep(
        name="mine",
        title="A question",
        table=1,
        baseline="base",
        rows=(Row("base", ("residual=pre_norm",)), Row("other", ("residual=dhc", "residual.n=2"))),
        seeds=(0, 3),
        overrides=("trainer.max_steps=10",),
        question="Which is better?",
        contrasts=(("other", "base"),),
    )
    sweep = load_sweep(write(tmp_path, "title: t\nbaseline: a\nrows: [{label: a}]\n", "own"), SWEEPS)
    assert (sweep.name, sweep.table, sweep.seeds, sweep.overrides, sweep.question) == ("own", None, (0,), (), "")
    assert sweep.rows == (Row("a", ()),)
    write(tmp_path, GRID)
    sweep = load_sweep("mine", tmp_path)
    labels = ["n=1, tanh=false", "n=1, tanh=true", "n=2, tanh=false", "n=2, tanh=true"]
    assert [row.label for row in sweep.rows] == labels
    assert sweep.rows[1].overrides == ("residual.n=1", "residual.tanh=true") and sweep.search is None
    whole = {"name": "median", "n_startup_trials": 3}
    for pruner, read in (("none", None), ("median", {"name": "median"}), ("", whole)):
        write(tmp_path, SEARCH.replace("{name: median, n_startup_trials: 3}", pruner) if pruner else SEARCH)
        sweep = load_sweep("mine", tmp_path)
        space = sweep.search
        assert (space.trials, space.startup, space.validations, space.pruner) == (12, 5, 5, read)
        assert list(space.knobs) == ["optimizer.lr", "schedule.warmup", "schedule"]
        assert [row.label for row in sweep.rows] == ["base", "other"] and sweep.seeds == (0,)


def test_shipped_sweeps_ask_their_question_and_have_the_papers_rows():
    for path in SWEEPS.glob("*.yaml"):
        sweep, text = load_sweep(path.stem, SWEEPS), path.read_text(encoding="utf-8")
        assert sweep.question.endswith("?") and len(sweep.question) < 200
        assert "The question" not in text, "it stands in one place"
        if path.stem not in ("table1", "table2", "table3", "table4", "quick"):
            continue
        number = 1 if path.stem == "quick" else int(path.stem[-1])
        assert sweep.table == number and sweep.rows[0].overrides == ("residual=pre_norm",)
        labels = [row.label for row in sweep.rows]
        assert all(printed(number, label) for label in labels)
        extra = ["OLMo-1B"] if number == 3 else []
        assert labels == [*extra, *table(number).labels], "the paper's rows, in its order"
        header = text.split("title:")[0]
        assert f"Table {number}" in header and f"make sweep SWEEP={path.stem}" in header
        for row in sweep.rows[1:] if number < 4 else []:
            knobs = dict(override.split("=") for override in row.overrides)
            kind, n = row.label.split(",")[0].split()[0].split("×")
            assert knobs["residual"] == kind.lower() and knobs["residual.n"] == n
            if kind == "DHC":
                assert knobs["residual.tanh"] == ("false" if "W/O tanh" in row.label else "true")
            assert knobs.get("residual.train_wc", "true") == ("false" if "WC frozen" in row.label else "true")
            assert knobs.get("residual.train_b", "true") == ("false" if "B frozen" in row.label else "true")
    related = {row.label: row.overrides for row in load_sweep("table4", SWEEPS).rows}
    assert related["ResiDual"] == ("residual=resi_dual",) and related["Altup×2"] == ("residual=altup", "residual.n=2")
    assert related["DHC×2 W/O tanh"] == ("residual=dhc", "residual.n=2", "residual.tanh=false")
    quick, first = load_sweep("quick", SWEEPS), load_sweep("table1", SWEEPS)
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


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (GOOD, "table: 1", "tabel: 1", "unknown key 'tabel'. Did you mean table? Allowed: title, question, table"),
        (
            GOOD,
            "label: other, overrides",
            "label: other, override",
            "row 2: unknown key 'override'. Did you mean over",
        ),
        (GOOD, "label: other", "label: base", "label 'base' stands on more than one row"),
        (GOOD, "baseline: base", "baseline: bass", "baseline 'bass' is not a row; rows are base, other"),
        (GOOD, "against: base", "against: bass", "contrasts: 'bass' is not a row; rows are base, other"),
        (GOOD, "against: base", "against: other", "contrasts: 'other' stands against itself"),
        (GOOD, "against: base", "agianst: base", "contrasts: unknown key 'agianst'. Did you mean against?"),
        (GOOD, "[{row: other, against: base}]", "other", "contrasts must be a list of {row: …, against: …}"),
        (GOOD, "[0, 3]", "[0, x]", "seed 'x' is not an integer"),
        (GOOD, "[0, 3]", "[true]", "seed True is not an integer"),
        (GOOD, "[0, 3]", "[-1]", "seed -1 is not an integer of 0 or more"),
        (GOOD, "[0, 3]", "[2, 2]", "seed 2 is given more than once"),
        (GOOD, "[0, 3]", "[]", "seeds is empty"),
        (GOOD, "table: 1", "table: 12", "paper table 12: it lists settings"),
        (GOOD, "table: 1", "table: one", "table 'one' is not the number of a table"),
        (GOOD, "title: A question", "", "title is missing"),
        (GOOD, "title: A question", "title: 7", "title 7 is not a text"),
        (GOOD, "question: Which is better?", "question: [a]", "question ['a'] is not a text"),
        (GOOD, "label: other", "label: 4", "row 2: label 4 is not a text"),
        (GOOD, "{label: other, overrides: [residual=dhc, residual.n=2]}", "other", "row 2 is not a mapping"),
        (GOOD, "[residual=dhc, residual.n=2]", "[residual]", "override 'residual' is not of the form key=value"),
        (GOOD, "[residual=dhc, residual.n=2]", "residual=dhc", "overrides 'residual=dhc' is not a list"),
        (GOOD, "title: A question", "title: [", "not YAML"),
        (GRID, "grid:", "gird:", "unknown key 'gird'. Did you mean grid?"),
        (GRID, "n=1, tanh=false", "n=3", "baseline 'n=3' is not a row; rows are n=1, tanh=false, n=1, tanh=true"),
        (GRID, "[1, 2]", "2", "grid: residual.n 2 is not a list of values"),
        (GRID, "[1, 2]", "[1, 1]", "grid: residual.n: 1 is given more than once"),
        (GRID, "[1, 2]", "[1, [2]]", "grid: residual.n: [2] is not a number, true, false, a text or null"),
        (GRID, "residual.n", "seed", "grid: seed cannot be a knob of a sweep: use --seeds"),
        (GRID, "residual.n", "+residual.n", "grid: knob '+residual.n' is not a plain name"),
        (GRID, "\n  residual.n: [1, 2]\n  residual.tanh: [false, true]", " []", "grid [] is not a mapping of knobs"),
        (SEARCH, "trials: 12", "trails: 12", "search: unknown key 'trails'. Did you mean trials?"),
        (SEARCH, "trials: 12", "trials: 0", "search: trials 0 is not an integer of 1 or more"),
        (SEARCH, "low: 1.0e-4", "low: 1e-4", "optimizer.lr: low '1e-4' is not a number (YAML reads 3e-4 as a text"),
        (SEARCH, "low: 1.0e-4", "low: .nan", "optimizer.lr: low nan is not a number"),
        (SEARCH, "validations: 5", "validations: 0", "search: validations 0 is not an integer of 1 or more"),
        (GRID, "residual.n", "7", "grid: knob 7 is not a text"),
        (SEARCH, "low: 1.0e-4", "low: 1.0", "optimizer.lr: low 1.0 must be less than high 0.01"),
        (SEARCH, "low: 1.0e-4", "low: 0.0", "optimizer.lr: `low > 0` must hold for `log=True`"),
        (SEARCH, "log: true", "log: 1", "optimizer.lr: log 1 is not true or false"),
        (SEARCH, "log: true", "logs: true", "optimizer.lr: unknown key 'logs'. Did you mean log?"),
        (SEARCH, "step: 5", "log: true, step: 5", "schedule.warmup: Samplers and other components"),
        (SEARCH, "{choices: [cosine, linear]}", "[cosine, linear]", "schedule is not a mapping with the keys low"),
        (SEARCH, "[cosine, linear]}", "[cosine], low: 1}", "schedule: unknown key 'low'. Allowed: choices"),
        (SEARCH, "name: median", "name: medain", "pruner: 'medain' is not known; choose from median, percentile"),
        (SEARCH, "n_startup_trials", "startup_trials", "median has no setting 'startup_trials'. Did you mean n_"),
        (SEARCH, "n_startup_trials: 3", "n_startup_trials: x", "pruner: median: "),
        (SEARCH, "{name: median, n_startup_trials: 3}", "3", "pruner 3 is neither a name nor a mapping"),
        (SEARCH, "rows:", "seeds: [0, 1]\nrows:", "a search has one seed, not 2: "),
        (GOOD, "title: A question", r'"title": "A\e[2J"', r"'A\x1b[2J' has a control character"),
        (GOOD, "label: other", r'"label": "a\nb"', r"label 'a\nb' has a control character"),
        (GOOD, "residual=dhc", r'"steps=1\e"', r"'steps=1\x1b' has a control character"),
        (GOOD, "residual=dhc", '"model._target_=os.system"', "'model._target_=os.system' names code"),
        (GOOD, "residual=dhc", '"+x={y: [{_target_: os.system}]}"', "names code, and the file holds data"),
        (GOOD, "residual=dhc", '"steps=${oc.env:HOME}"', "'steps=${oc.env:HOME}' names code"),
        (GOOD, "residual=dhc", '"steps=${oc.${seed}:HOME}"', "names code"),
        (GOOD, "trainer.max_steps=10", '"+hydra.searchpath=[file:///x]"', "hydra.searchpath is not for a file to set"),
        (GOOD, "residual=dhc", "hydra/launcher=x", "row 2: hydra/launcher is not for a file to set"),
        (GOOD, "residual=dhc", "residual=../../x/mine", "residual=../../x/mine is not a choice of residual"),
        (GOOD, "residual=dhc", "'+callbacks=[default, ../../x]'", "is not a choice of callbacks"),
        (GRID, "residual.n: [1, 2]", "residual: [dhc, ../../x]", "is not a choice of residual: it must be a name"),
        (SEARCH, "[cosine, linear]", "[cosine, ../../x]", "is not a choice of schedule"),
        (GRID, "residual.n: [1, 2]", "model._target_: [os.system]", "'model._target_' names code"),
        (GRID, "residual.n: [1, 2]", "hydra.searchpath: [file:///x]", "grid: hydra.searchpath is not for a file"),
        (GRID, "[1, 2]", r'["a\e"]', r"'a\x1b' has a control character"),
        (SEARCH, "[cosine, linear]", "['${oc.env:HOME}']", "'${oc.env:HOME}' names code"),
        (SEARCH, "n_startup_trials: 3", "x: {y: [{_target_: os.system}]}", "'_target_' names code"),
        (SEARCH, "schedule.warmup:", "model.x._target_:", "'model.x._target_' names code"),
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
    head = "title: t\nbaseline: a\nrows: "
    wrong = {text: "must be a mapping with the keys title, question, table" for text in ("", "- a\n", "word\n")}
    wrong |= {f"{head}{rows}\n": "rows" for rows in ("[]", "null", "{}")}
    wrong[f"{head}{'[' * 1000}{']' * 1000}"] = "sweep mine.yaml: it is nested too deeply"
    deep = "x=" + "[" * 1000 + "]" * 1000
    wrong[f"{head}[{{label: a, overrides: ['{deep}']}}]"] = "is not of the form key=value"
    wrong[f"{head}&rows [*rows]"] = "row 1 is not a mapping"
    for text, said in wrong.items():
        write(tmp_path, text)
        with pytest.raises(ValueError, match=said) as error:
            load_sweep("mine", tmp_path)
        assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        FileNotFoundError, match=r"no sweep 'tabel1'\. Did you mean table1\? Available: .*quick.*table3"
    ):
        load_sweep("tabel1", SWEEPS)
    with pytest.raises(FileNotFoundError, match=r"no sweep 'zzzz'\. Available: "):
        load_sweep("zzzz", SWEEPS)
    with pytest.raises(FileNotFoundError, match="sweep file nowhere/mine.yaml does not exist"):
        load_sweep("nowhere/mine.yaml", SWEEPS)
