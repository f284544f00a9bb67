import json

import pytest
from mlflow import MlflowClient

from hcexp.study import Row, Sweep, plan
from hcexp.study.tracked import TrackedSweep
from hcexp.tracking.outbox import UNSENT

ROWS = (Row("plain", ("residual=pre_norm",)), Row("DHC×2", ("residual=dhc", "residual.n=2")))


@pytest.fixture
def sweep():
    return Sweep(name="own", title="A question", table=1, baseline="plain", rows=ROWS)


def children(client, store_uri, parent):
    (experiment,) = [e for e in client.search_experiments() if e.name == "hcexp"]
    found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {run.data.tags["row"]: run for run in found}


def parent_of(client):
    (experiment,) = [e for e in client.search_experiments() if e.name == "hcexp"]
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    return parent


def test_the_runs_of_a_sweep_are_its_children_as_soon_as_they_are_recorded(sweep, minute, tracked, store_uri, tmp_path):
    points = plan(sweep, "tiny", [*minute, *tracked])
    points[0].run.train()  # before there was a sweep
    followed = TrackedSweep(sweep, "tiny", points)
    client = MlflowClient(store_uri)
    parent = parent_of(client)
    assert set(children(client, store_uri, parent.info.run_id)) == {"plain"}
    points[1].run.train()
    followed.adopt(points)
    found = children(client, store_uri, parent.info.run_id)
    assert set(found) == {"plain", "DHC×2"}
    tags = found["DHC×2"].data.tags
    assert {
        "mode": "dhc",
        "n": "2",
        "tanh": "True",
        "seed": "0",
        "scale": "tiny",
        "sweep": "own-tiny",
        "table": "1",
    }.items() <= tags.items()

    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").write_text("#")
    followed.close("FINISHED", tmp_path / "report")
    assert parent_of(client).info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "report")] == ["report/report.md"]


def test_a_run_whose_process_was_killed_is_marked_failed(sweep, minute, tracked, store_uri, tmp_path):
    (point, *_) = points = plan(sweep, "tiny", [*minute, *tracked])
    point.run.train()
    client = MlflowClient(store_uri)
    run_id = point.run.result()["run_id"]
    followed = TrackedSweep(sweep, "tiny", points[1:])
    followed.ended(point, {"state": "failed", "error": "loss is nan"})  # it has said so itself
    assert client.get_run(run_id).info.status == "FINISHED"
    client.update_run(run_id, status="RUNNING")
    followed.ended(point, {"state": "failed", "error": "no output (exit status -9)", "log": []})
    run = client.get_run(run_id)
    assert run.info.status == "FAILED" and run.data.tags["error"] == "no output (exit status -9)"
    assert run.data.tags["row"] == "plain", "as quick a run as this one is a child too"


def test_what_the_store_missed_of_a_finished_run_is_sent(sweep, minute, tracked, store_uri):
    (point, *_) = points = plan(sweep, "tiny", [*minute, *tracked])
    run_id = point.run.train()["run_id"]
    unsent = point.run.directory / UNSENT
    unsent.write_text(json.dumps({"tag": "late", "value": "but there"}) + "\n")
    TrackedSweep(sweep, "tiny", points)
    assert MlflowClient(store_uri).get_run(run_id).data.tags["late"] == "but there" and not unsent.exists()


def test_where_runs_are_not_tracked_nothing_happens(sweep, minute, tmp_path):
    followed = TrackedSweep(sweep, "tiny", plan(sweep, "tiny", minute))
    followed.close("FINISHED", tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_store_that_is_away_is_warned_of_once(sweep, minute, tmp_path):
    points = plan(sweep, "tiny", [*minute, "tracking=mlflow", "tracking.uri=http://me:secret@127.0.0.1:9"])
    with pytest.warns(UserWarning, match="the sweep is not recorded there") as said:
        followed = TrackedSweep(sweep, "tiny", points)
        followed.adopt(points)
        followed.close("FINISHED", tmp_path)
    assert len(said) == 1 and "secret" not in str(said[0].message)
