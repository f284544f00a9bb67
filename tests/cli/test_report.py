import csv

from hcexp.configuration import shipped


def test_a_report_without_any_run_shows_what_was_not_measured(hcexp, minute, tmp_path):
    status, out, err = hcexp("report", "table1", *minute)
    assert (status, err) == (0, "")
    assert "OLMo-1B" in out and "–" in out
    folder = tmp_path / "runs" / "reports" / "table1-tiny"
    assert {path.suffix for path in folder.iterdir()} >= {".md", ".csv", ".html"}
    (table,) = folder.glob("*.csv")
    assert len(list(csv.reader(table.open(encoding="utf-8")))) >= 1 + 9
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name != "reports"]


def test_an_unknown_sweep_is_answered_with_the_nearest(refused):
    line = refused("report", "tabel1")
    assert line.startswith("no sweep 'tabel1'. Did you mean table1? Available: ")
    assert all(path.stem in line for path in shipped("sweeps").glob("*.yaml"))


def test_an_own_sweep_that_is_not_there_is_refused(refused):
    assert refused("sweep", "mine/own.yaml") == "sweep file mine/own.yaml does not exist"


def test_a_row_that_cannot_be_built_is_refused_before_anything_runs(refused, minute, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("{title: a, baseline: b, rows: [{label: b}, {label: c, overrides: [residual=dhcc]}]}")
    line = refused("sweep", path, *minute)
    assert line.startswith("residual=dhcc is not known, did you mean dhc")
    assert line.endswith("(in the row c of sweep own)")
    assert not (tmp_path / "runs").exists()


def test_scale_and_seeds_have_options_of_their_own(refused, minute):
    assert refused("report", "table1", *minute, "scale=60m").startswith("scale=60m cannot be an override")
    assert refused("sweep", "table1", *minute, "seed=3").endswith("use --seeds")


def test_a_servers_password_is_not_in_the_report(hcexp, minute, tmp_path):
    assert hcexp("report", "table1", *minute, "tracking=mlflow", "tracking.uri=http://me:secret@127.0.0.1:9")[0] == 0
    for path in (tmp_path / "runs" / "reports" / "table1-tiny").iterdir():
        assert "secret" not in path.read_text(encoding="utf-8")
