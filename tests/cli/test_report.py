import csv

import pytest
import yaml

from hcexp.configuration import shipped
from hcexp.report import publish
from hcexp.study import plan
from hcexp.study.named_sweep import named_sweep
from hcexp.study.sweep.sweep import Outcome


def test_a_report_without_any_run_shows_what_was_not_measured(hcexp, minute, tmp_path):
    secret = ["tracking=mlflow", "tracking.uri=http://me:secret@127.0.0.1:9"]
    status, out, err = hcexp("report", "table1", *minute, *secret)
    assert (status, err) == (0, "")
    assert "OLMo-1B" in out and "0 of 1" in out and "--analyse" not in out
    folder = tmp_path / "runs" / "reports" / "table1-tiny"
    assert {path.suffix for path in folder.iterdir()} >= {".md", ".csv", ".html", ".tex"}
    (table,) = folder.glob("*.csv")
    assert len(list(csv.reader(table.open(encoding="utf-8")))) >= 1 + 9
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name != "reports"]
    assert not [path for path in folder.iterdir() if "secret" in path.read_text(encoding="utf-8")]


def test_what_is_no_sweep_or_cannot_be_built_is_refused_before_anything_runs(refused, minute, tmp_path):
    line = refused("report", "tabel1")
    assert line.startswith("no sweep 'tabel1'. Did you mean table1? Available: ")
    assert all(path.stem in line for path in shipped("sweeps").glob("*.yaml"))
    assert refused("sweep", "mine/own.yaml") == "sweep file mine/own.yaml does not exist"
    assert refused("report", "table1", *minute, "scale=60m").startswith("scale=60m cannot be an override")
    assert refused("sweep", "table1", *minute, "seed=3").endswith("use --seeds")
    path = tmp_path / "own.yaml"
    path.write_text("{title: a, baseline: b, rows: [{label: b}, {label: c, overrides: [residual=dhcc]}]}")
    line = refused("sweep", path, *minute)
    assert line.startswith("residual=dhcc is not known, did you mean dhc")
    assert line.endswith("(in the row c of sweep own)") and not (tmp_path / "runs").exists()


@pytest.fixture
def tuned(tmp_path):
    """Writes what a search `tune` at scale=tiny has found: a learning rate for Pre-Norm and one for every DHC."""

    def write(folder="runs/reports/tune-tiny"):
        rows = [
            {"label": mode, "overrides": [f"residual={mode}"], "values": {"optimizer.lr": rate}, "loss": 1.0}
            | {"finished": 3, "pruned": 0, "failed": 0}
            for mode, rate in (("pre_norm", 0.007), ("dhc", 0.009))
        ]
        content = {
            "sweep": "tune",
            "scale": "tiny",
            "seed": 0,
            "command": "hcexp sweep tune",
            "trials": 3,
            "rows": rows,
        }
        path = tmp_path / folder / "tuned.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "{title: a, baseline: b, rows: [{label: b, overrides: [residual=pre_norm]}, "
        "{label: c, overrides: [residual=dhc, residual.n=2]}]}"
    )
    return path


def test_rows_take_tuned_values_by_the_searchs_name_or_by_a_path(tuned, own, minute):
    for given in ("tune", str(tuned()), str(tuned("elsewhere"))):
        sweep = named_sweep(str(own), ["scale=tiny", *minute], tuned=given)
        points = plan(sweep, "tiny", minute)
        assert [point.run.config.optimizer.lr for point in points] == [0.007, 0.009]


def test_a_report_of_tuned_rows_stands_beside_that_of_the_others(hcexp, tuned, own, minute, tmp_path):
    tuned()
    status, _, err = hcexp("report", own, *minute, "--tuned", "tune")
    assert (status, err) == (0, "")
    markdown = (tmp_path / "runs" / "reports" / "own-tiny-tuned" / "report.md").read_text(encoding="utf-8")
    assert "**tuned values**: search tune, 3 trials a row, from " in markdown
    assert "--tuned tune" in markdown.partition("## To repeat it")[2].splitlines()[3]
    assert "optimizer.lr=0.007" in markdown


def test_tuned_values_that_are_not_there_are_refused(refused, own, minute, tmp_path):
    assert refused("sweep", own, *minute, "--tuned=tune").startswith("--tuned: ")
    line = refused("sweep", own, *minute, "sweep.tuned=tune")
    assert line == "sweep.tuned=tune is no override: write --tuned SEARCH" and not (tmp_path / "runs").exists()


def test_a_report_of_a_search_shows_what_there_is(hcexp, own, minute, tmp_path):
    space = "search: {knobs: {optimizer.lr: {low: 1.0e-4, high: 1.0e-1, log: true}}, trials: 3}"
    own.write_text(own.read_text().replace("title: a,", f"title: a, {space},"))
    status, out, err = hcexp("report", own, *minute)
    assert (status, err) == (0, "")
    assert "Trials to be made yet: b 3, c 3." in out
    folder = tmp_path / "runs" / "reports" / "own-tiny"
    assert sorted(path.name for path in folder.iterdir()) == [
        "search-trials.csv",
        "search.csv",
        "search.md",
        "tuned.yaml",
    ]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["reports"]


def test_the_first_finished_seed_of_every_row_is_analysed(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr("hcexp.analysis.checkpoint.analyse_runs", lambda runs, say: found.extend(runs))
    states = {("a", 1): "finished", ("a", 0): "failed", ("b", 2): "finished", ("b", 1): "finished", ("c", 0): "missing"}
    outcomes = [Outcome(label, seed, state, tmp_path / f"{label}{seed}") for (label, seed), state in states.items()]
    publish._analyse(outcomes, console=None)
    assert sorted(found) == [tmp_path / "a1", tmp_path / "b1"]


@pytest.mark.slow
def test_runs_that_were_evaluated_on_the_way_have_a_whole_report(hcexp, minute, tracked, tmp_path):
    path = tmp_path / "own.yaml"
    rows = [
        {"label": "plain", "overrides": ["residual=pre_norm"]},
        {"label": "DHC×2", "overrides": ["residual=dhc", "residual.n=2"]},
    ]
    path.write_text(yaml.safe_dump({"title": "A question", "baseline": "plain", "rows": rows}))
    knobs = [*minute, *tracked, "evaluation.every=2"]
    status, out, _ = hcexp("sweep", path, "--workers", "1", *knobs)
    assert status == 0 and "hcexp report --analyse adds the connection matrices" in out
    folder = tmp_path / "runs" / "reports" / "own-tiny"
    assert "Connection matrices" not in (folder / "report.html").read_text(encoding="utf-8")
    status, out, _ = hcexp("report", path, "--analyse", *knobs)
    assert status == 0 and "--analyse adds" not in out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Connection matrices" in page and page.count('<img class="matrices"') == 1
    for name in ("report.html", "report.md", "report.tex"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "At equal budgets: local loss" in text
        assert "at least 3 evaluations a run" in text and "Not quite fair" in text
    lines = [each for each in csv.DictReader((folder / "report.csv").open()) if each["row"] == "DHC×2"]
    value = {line["quantity"]: float(line["value"]) for line in lines if line["value"]}
    assert value["local/mean/loss at equal training FLOPs, cost of a token over baseline"] > 1
    assert 0 < value["local/mean/loss at equal training FLOPs, read at share of tokens"] < 1
    assert value["local/mean/loss at equal tokens"] == pytest.approx(value["local/mean/loss"])
