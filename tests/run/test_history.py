import pytest

from hcexp.configuration import compose
from hcexp.run.history import curves, store_of


@pytest.fixture
def config():
    return compose(["paths.cache=x"])


def test_the_store_is_beside_the_runs_of_one_that_was_set_aside_too(config, tmp_path):
    store = f"sqlite:///{tmp_path}/runs/mlflow.db"
    for run in ("0123456789abcdef", "stale/0123456789abcdef-1"):
        assert store_of(tmp_path / "runs" / run, config) == store
    config.tracking.uri = "http://server"
    assert store_of(tmp_path / "runs" / "stale" / "0123456789abcdef-1", config) == "http://server"


def test_a_run_that_was_set_aside_has_its_curves_and_one_without_a_file_what_it_ended_with(make_run, tmp_path):
    run = make_run()
    result = run.train()
    before = curves(run.directory, run.config, ["local/held"], ["block_1"])
    aside = tmp_path / "runs" / "stale" / f"{run.identity}-1"
    aside.parent.mkdir()
    run.directory.rename(aside)
    assert curves(aside, run.config, ["local/held"], ["block_1"]) == before
    assert [point.step for point in before if point.metric == "train/loss"] == [1, 2, 3, 4, 5, 6]
    ended = [("local/held/loss", 6, 6 * 2 * 32, result["metrics"]["local/held/loss"])]
    assert [point for point in before if point.metric == "local/held/loss"] == ended
    (aside / "metrics.jsonl").unlink()  # as of a run of an earlier version
    assert [p for p in curves(aside, run.config, ["local/held"], []) if p.metric == "local/held/loss"] == ended
