import json

import pytest
from mlflow import MlflowClient

from hcexp.study import Row, Sweep, plan
from hcexp.study.tracked import TrackedSweep
from hcexp.tracking.outbox import Outbox

ROWS = (Row("plain", ("residual=pre_norm",)), Row("DHC×2", ("residual=dhc", "residual.n=2")))


@pytest.fixture
def sweep():
    return Sweep(name="own", title="A title", question="A question?", table=1, baseline="plain", rows=ROWS)


def children(client, store_uri, parent):
    (experiment,) = [e for e in client.search_experiments() if e.name == "hcexp"]
    found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {run.data.tags["row"]: run for run in found}


def parent_of(client):
    (experiment,) = [e for e in client.search_experiments() if e.name == "hcexp"]
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    return parent


def follow(sweep, points):
    known = [(point.run.identity, point.row.label) for point in points]
    return TrackedSweep(sweep, "tiny", points[0].run.config, known)


def adopt(followed, points):
    for point in points:
        followed.adopt(point.run.identity, point.row.label)


def test_the_runs_of_a_sweep_are_its_children_as_soon_as_they_are_recorded(sweep, minute, tracked, store_uri, tmp_path):
    points = plan(sweep, "tiny", [*minute, *tracked])
    points[0].run.train()  # before there was a sweep
    followed = follow(sweep, points)
    client = MlflowClient(store_uri)
    parent = parent_of(client)
    assert parent.data.tags["mlflow.note.content"] == "A title\n\nA question?"
    assert set(children(client, store_uri, parent.info.run_id)) == {"plain"}
    points[1].run.train()
    adopt(followed, points)
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
    followed = follow(sweep, points[1:])
    said_itself = {"state": "failed", "error": "loss is nan"}
    followed.ended(point.run.identity, point.row.label, said_itself)
    assert client.get_run(run_id).info.status == "FINISHED"
    client.update_run(run_id, status="RUNNING")
    killed = {"state": "failed", "error": "no output (exit status -9)", "log": []}
    followed.ended(point.run.identity, point.row.label, killed)
    run = client.get_run(run_id)
    assert run.info.status == "FAILED" and run.data.tags["error"] == "no output (exit status -9)"
    assert run.data.tags["row"] == "plain", "as quick a run as this one is a child too"


def test_what_the_store_missed_of_a_run_that_has_ended_is_sent(sweep, minute, tracked, store_uri):
    (point, *_) = points = plan(sweep, "tiny", [*minute, *tracked])
    result = point.run.train()
    told, of_it = point.run.directory / "tracking.json", point.run.directory / "result.json"
    client = MlflowClient(store_uri)

    def waits(**tags):
        told.write_text(json.dumps({**json.loads(told.read_text()), "tags": tags}))
        follow(sweep, points)
        return Outbox(store_uri, point.run.directory).waits()

    for state in ("finished", "pruned"):
        of_it.write_text(json.dumps({**result, "state": state}))
        assert not waits(late=state)
        assert client.get_run(result["run_id"]).data.tags["late"] == state
    of_it.unlink()  # somebody is at it, and will send it
    assert waits(late="too early")


@pytest.mark.parametrize(
    ("stop", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")]
)
def test_what_stops_a_sweep_ends_its_parent(sweep, minute, tracked, store_uri, stop, status):
    with pytest.raises(stop), follow(sweep, plan(sweep, "tiny", [*minute, *tracked])):
        raise stop
    assert parent_of(MlflowClient(store_uri)).info.status == status


def test_where_runs_are_not_tracked_nothing_happens(sweep, minute, tmp_path):
    followed = follow(sweep, plan(sweep, "tiny", minute))
    followed.close("FINISHED", tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_store_that_is_away_is_warned_of_once(sweep, minute, tmp_path):
    points = plan(sweep, "tiny", [*minute, "tracking=mlflow", "tracking.uri=http://me:secret@127.0.0.1:9"])
    with pytest.warns(UserWarning, match="the sweep is not recorded there") as said:
        followed = follow(sweep, points)
        adopt(followed, points)
        followed.close("FINISHED", tmp_path)
    assert len(said) == 1 and "secret" not in str(said[0].message)
