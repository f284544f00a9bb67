import pytest
from mlflow import MlflowClient

from hcexp.study import Row, Sweep, plan
from hcexp.study.tracked import TrackedSweep

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
