from hcexp.configuration import compose
from hcexp.run.history import curves, store_of


def test_the_store_is_beside_the_runs_of_one_that_was_set_aside_too(tmp_path):
    config = compose(["paths.cache=x"])
    aside = tmp_path / "runs" / "stale" / "0123456789abcdef-1"
    for run in (tmp_path / "runs" / "0123456789abcdef", aside):
        assert store_of(run, config) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    config.tracking.uri = "http://server"
    assert store_of(aside, config) == "http://server"


def test_a_run_that_was_set_aside_has_its_curves_and_one_without_a_file_what_it_ended_with(trained, runs):
    run, config = runs / trained.pre_norm.identity, trained.pre_norm.config
    before = curves(run, config, ["local/held"], ["block_1"])
    aside = runs / "stale" / f"{run.name}-1"
    aside.parent.mkdir()
    run.rename(aside)
    assert curves(aside, config, ["local/held"], ["block_1"]) == before
    assert [point.step for point in before if point.metric == "train/loss"] == [1, 2, 3, 4, 5, 6]
    held = trained.pre_norm.result()["metrics"]["local/held/loss"]
    ended = [("local/held/loss", 6, 6 * 2 * 32, held)]
    assert [point for point in before if point.metric == "local/held/loss"] == ended
    (aside / "metrics.jsonl").unlink()  # as of a run of an earlier version
    assert [p for p in curves(aside, config, ["local/held"], []) if p.metric == "local/held/loss"] == ended
