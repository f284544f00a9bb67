import pytest

from hcexp.tracking import open_store
from hcexp.tracking.parents import adopt, close_parent, fail_run, open_parent


@pytest.fixture(scope="module")
def store(uri, runs):
    return open_store(uri, runs, "sweeps")


@pytest.mark.parametrize("name", ["table1-tiny", "mine's-tiny"])
def test_a_sweep_is_one_parent_however_often_it_is_begun(store, client, tmp_path, name):
    parent = open_parent(store, "sweeps", name, {"table": "1"})
    (tmp_path / "report.html").write_text("<p>")
    close_parent(store, parent, "FAILED", report=tmp_path)
    assert client.get_run(parent).info.status == "FAILED"
    assert [file.path for file in client.list_artifacts(parent, "report")] == ["report/report.html"]
    assert open_parent(store, "sweeps", name, {"table": "1"}) == parent
    run = client.get_run(parent)
    assert (run.info.status, run.info.run_name) == ("RUNNING", name)
    assert {"sweep": name, "kind": "sweep", "table": "1"}.items() <= run.data.tags.items()
    assert open_parent(store, "sweeps", "table1-60m", {}) != parent


def test_children_are_found_under_the_sweep_that_was_run_last(store, client):
    experiment = client.get_experiment_by_name("sweeps").experiment_id
    run = client.create_run(experiment).info.run_id
    first, second = (open_parent(store, "sweeps", name, {}) for name in ("one", "two"))
    adopt(store, first, run, {"sweep": "one", "row": "DHC×2"})
    assert client.get_run(run).data.tags["row"] == "DHC×2"
    adopt(store, second, run, {"sweep": "two", "row": "n = 2"})
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{second}'")
    assert [child.info.run_id for child in children] == [run]
    assert open_parent(store, "sweeps", "two", {}) == second  # its children have the tag too


@pytest.mark.parametrize(("tell", "what"), [(adopt, ("run", {})), (fail_run, ("error",)), (close_parent, ("KILLED",))])
def test_a_store_that_is_away_is_not_waited_for(monkeypatch, tell, what):
    monkeypatch.setattr("mlflow.MlflowClient", lambda uri: pytest.fail("MLflow tries for minutes"))
    with pytest.raises(ConnectionError, match="does not answer"):
        tell("http://127.0.0.1:9", "1", *what)
