import json
import shutil
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from omegaconf import OmegaConf

from hcexp.study import Row, Sweep
from hcexp.study.parent_run import ParentRun
from hcexp.tracking import open_store
from hcexp.tracking.outbox import Outbox

SWEEP = Sweep("own", "A title", 1, "plain", (Row("plain"), Row("DHC×2")), question="A question?")


@pytest.fixture
def store(mlflow_template, tmp_path):
    """A store with runs that were recorded there, and their folders."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    uri = open_store(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, "sweeps")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("sweeps").experiment_id

    def record(identity):
        run_id = client.create_run(experiment).info.run_id
        (tmp_path / identity).mkdir()
        (tmp_path / identity / "tracking.json").write_text(json.dumps({"run_id": run_id}))
        return run_id

    def parents():
        return client.search_runs([experiment], "tags.kind = 'sweep'", order_by=["attributes.start_time ASC"])

    def children(parent):
        found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
        return {run.data.tags["row"]: run for run in found}

    return SimpleNamespace(uri=uri, client=client, record=record, parents=parents, children=children)


@pytest.fixture
def follow(store, tmp_path):
    def follow(sweep=SWEEP, known=(), uri=store.uri):
        tracking = {"uri": uri, "experiment": "sweeps"} if uri else {}
        config = OmegaConf.create({"paths": {"runs": str(tmp_path)}, "tracking": tracking})
        return ParentRun(sweep, "tiny", config, known)

    return follow


def test_the_runs_of_a_sweep_are_its_children_as_soon_as_they_are_recorded(store, follow, tmp_path):
    store.record("a")  # before there was a sweep
    parent = follow(known=[("a", "plain"), ("b", "DHC×2")])
    (run,) = store.parents()
    assert run.data.tags["mlflow.note.content"] == "A title\n\nA question?" and run.info.run_name == "own-tiny"
    assert set(store.children(run)) == {"plain"}
    quick = store.record("b")
    parent.ended("b", "DHC×2")
    assert store.client.get_run(quick).info.status == "RUNNING", "it says itself how it ended"
    parent.ended("b", "DHC×2", killed="no output (exit status -9)")
    child = store.children(run)["DHC×2"]
    assert {"sweep": "own-tiny", "table": "1", "error": "no output (exit status -9)"}.items() <= child.data.tags.items()
    assert child.info.status == "FAILED"
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").write_text("#")
    parent.close("FINISHED", tmp_path / "report")
    (run,) = store.parents()
    assert run.info.status == "FINISHED"
    assert [file.path for file in store.client.list_artifacts(run.info.run_id, "report")] == ["report/report.md"]


def test_a_sweep_is_one_parent_however_often_it_is_begun_and_its_children_the_last_ones(store, follow):
    store.record("a")
    for stop, status in ((ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")):
        with pytest.raises(stop), follow(known=[("a", "plain")]):
            raise stop
        assert store.parents()[0].info.status == status
    other = Sweep("mine's", "A title", None, "x", (Row("x"),))
    for _ in range(2):
        follow()
        follow(other, known=[("a", "x")])
    own, others = store.parents()
    assert own.info.status == "RUNNING" and others.info.run_name == "mine's-tiny" and "table" not in others.data.tags
    assert store.children(own) == {} and set(store.children(others)) == {"x"}


def test_what_the_store_missed_of_a_run_that_has_ended_is_sent(store, follow, tmp_path):
    run_id = store.record("a")
    told, result = tmp_path / "a" / "tracking.json", tmp_path / "a" / "result.json"

    def waits(late):
        told.write_text(json.dumps({**json.loads(told.read_text()), "tags": {"late": late}}))
        follow(known=[("a", "plain")])
        return Outbox(store.uri, tmp_path / "a").waits()

    for state in ("finished", "pruned"):
        result.write_text(json.dumps({"state": state}))
        assert not waits(state)
        assert store.client.get_run(run_id).data.tags["late"] == state
    result.unlink()  # somebody is at it, and will send it
    assert waits("too early")


def test_where_runs_are_not_tracked_nothing_happens(store, follow, tmp_path):
    parent = follow(uri=None, known=[("a", "plain")])
    parent.ended("a", "plain", killed="why")
    parent.close("FINISHED", tmp_path)
    assert store.parents() == []


def test_a_store_that_goes_away_is_warned_of_once_and_not_waited_for(store, follow, tmp_path, monkeypatch):
    store.record("a")
    parents = [follow() for _ in range(3)]
    monkeypatch.setattr("mlflow.MlflowClient", lambda uri: pytest.fail("MLflow tries for minutes"))
    for tell in (lambda p: p.adopt("a", "x"), lambda p: p.ended("a", "x", "why"), lambda p: p.close("KILLED")):
        parent = parents.pop()
        parent._uri = "http://me:secret@127.0.0.1:9"
        with pytest.warns(UserWarning, match="the sweep is not recorded there .*does not answer") as said:
            tell(parent)
            tell(parent)
        assert len(said) == 1 and "secret" not in str(said[0].message)
    with pytest.warns(UserWarning, match="the sweep is not recorded there") as said:
        follow(uri="http://me:secret@127.0.0.1:9", known=[("a", "x")]).close("FINISHED", tmp_path)
    assert len(said) == 1
