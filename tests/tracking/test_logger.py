import json
import math
import os

import lightning.pytorch as L
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.demos.boring_classes import BoringModel

from hcexp.configuration import compose
from hcexp.tracking.logger import FileLogger, MLflowLogger
from hcexp.tracking.metrics import METRICS, read


def test_metrics_go_in_large_batches_and_none_is_lost(begin, points, client):
    logger = begin()
    for step in range(500):
        logger.log_metrics({"train/loss": step / 7, "train/lr": 0.1}, step)
    assert logger.store.sizes == [], "written only when it is time"
    logger.log_metrics({f"set/{number}": number for number in range(1000)}, 500)
    logger.finalize("success")
    assert sum(logger.store.sizes) == 2000 and len(logger.store.sizes) <= 4 and max(logger.store.sizes) <= 1000
    assert points(logger, "train/loss") == [(step, step / 7) for step in range(500)]
    assert points(logger, "set/999") == [(500, 999.0)]
    assert client.get_run(logger.run_id).info.status == "FINISHED"


def test_they_are_written_after_a_while(begin, folder, points, clock):
    logger = begin(flush_seconds=10)
    for passed, there in ((0, 0), (9.9, 0), (0.1, 3)):
        clock.now += passed
        logger.log_metrics({"a": 1.0}, int(clock.now * 10))
        assert len(points(logger, "a")) == len(read(folder / METRICS).get("a", [])) == there


class Failing(BoringModel):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def training_step(self, batch, batch_idx):
        if batch_idx == 5:
            raise self.error
        self.logger.log_metrics({"train/loss": float(batch_idx)}, batch_idx)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("error", [RuntimeError("out of luck\nmore"), KeyboardInterrupt()])
@pytest.mark.parametrize("tracked", [True, False])
def test_an_exception_loses_nothing_and_is_told(begin, folder, points, client, error, tracked):
    logger = begin() if tracked else FileLogger(folder)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(logger=logger, max_steps=10, accelerator="cpu", default_root_dir=folder, **quiet)
    with pytest.raises((RuntimeError, SystemExit)):
        trainer.fit(Failing(error))
    assert read(folder / METRICS) == {"train/loss": [(step, float(step)) for step in range(5)]}
    if tracked:
        assert points(logger, "train/loss") == read(folder / METRICS)["train/loss"]
        assert client.get_run(logger.run_id).info.status == "FAILED"
        logger.fail(error)
        run = client.get_run(logger.run_id)
        status, said = ("FAILED", "out of luck") if isinstance(error, RuntimeError) else ("KILLED", "")
        assert (run.info.status, run.data.tags["error"]) == (status, f"{type(error).__name__}: {said}")


def test_a_resumed_run_goes_on_in_the_same_one(begin, points, client, log):
    first = begin()
    first.tell(params={"optimizer": {"lr": 0.1}}, tags={"pruned": 7})
    log(first, 1)
    first.fail(RuntimeError("broken"))
    assert client.get_run(first.run_id).data.tags["pruned"] == "7"
    again = begin(step=1)
    run = client.get_run(first.run_id)
    assert run.info.status == "RUNNING" and not {"error", "pruned"} & run.data.tags.keys()
    again.tell(params={"optimizer": {"lr": 0.2, "beta": 0.9}})
    log(again, 2)
    again.finalize()
    run = client.get_run(first.run_id)
    assert again.run_id == first.run_id and run.info.status == "FINISHED"
    assert run.data.params == {"optimizer.lr": "0.1", "optimizer.beta": "0.9"}
    assert points(again, "a") == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("killed", ["after telling", "before it is noted", "before telling", "in mid-write"])
def test_of_a_run_that_is_killed_and_goes_on_nothing_is_told_twice_and_nothing_is_missed(begin, folder, points, killed):
    """The checkpoint is of step 2; the times of the points that come again are others."""

    def log(logger, *steps):
        for step in steps:
            logger.log_metrics({"a": float(step), "rare": 1.0} if step % 2 else {"a": float(step)}, step)

    first = begin()
    log(first, 1, 2)
    first.save()
    log(first, 3, 4)
    told = (folder / "tracking.json").read_text()
    FileLogger.save(first) if killed == "before telling" else first.save()
    if killed == "before it is noted":
        (folder / "tracking.json").write_text(told)
    if killed == "in mid-write":
        with open(folder / METRICS, "a") as file:
            file.write('{"step": 5, "time": 17')
    again = begin(step=2)
    assert read(folder / METRICS)["a"] == [(1, 1.0), (2, 2.0)]
    log(again, 3, 4, 5)
    again.log_metrics({"a": 5.0}, 5)  # as the final metrics repeat the last point
    again.finalize()
    assert points(again, "a") == read(folder / METRICS)["a"] == [(step, float(step)) for step in range(1, 6)]
    assert points(again, "rare") == read(folder / METRICS)["rare"] == [(1, 1.0), (3, 1.0), (5, 1.0)]


def test_what_an_untracked_attempt_has_recorded_is_told_by_the_next(begin, folder, points, log):
    logger = begin()
    log(logger, *range(1, 100))
    logger.finalize()
    untracked = FileLogger(folder, step=2)
    untracked.log_metrics({"a": 3.0, "b": 0.0}, 3)
    untracked.log_metrics({"b": 100.0}, 100)
    untracked.close()
    assert untracked.run_id == logger.run_id
    again = begin(step=100)
    again.finalize()
    assert len(points(again, "a")) == 99 and points(again, "b") == [(3, 0.0), (100, 100.0)]


@pytest.mark.parametrize("gone", ["deleted", "never there"])
def test_a_run_that_is_gone_is_begun_anew_and_told_everything(begin, folder, client, points, log, gone):
    log(first := begin(), 1)
    first.finalize()
    if gone == "deleted":
        client.delete_run(first.run_id)
    else:
        told = json.loads((folder / "tracking.json").read_text())
        (folder / "tracking.json").write_text(json.dumps({**told, "run_id": "0" * 32}))
    with pytest.warns(UserWarning, match=" is not in sqlite"):
        again = begin(step=1)
    log(again, 2)
    again.finalize()
    assert again.run_id != first.run_id and points(again, "a") == [(1, 1.0), (2, 2.0)]


def test_all_that_is_told_is_kept_with_the_run_and_what_mlflow_refuses_is_mended(begin, client, folder, points):
    logger = begin(checkpoint=False, run_name="dhc n=4, seed 0 · 946a9d60", tags={"mlflow.parentRunId": "1" * 32})
    logger.log_metrics({"up": math.inf, "nan": math.nan, "arc(easy)/accuracy": torch.tensor(0.5)}, 3)
    (folder / "config.yaml").write_text("seed: 0")
    config = {"_target_": "x", "model": {"d": 128, "text": "é" * 400}, "out": "/home/ada/runs"}
    made_by = {"git": {"commit": "c0ffee", "dirty": False}}
    logger.tell(params=config | {f"p{n}": n for n in range(250)}, tags=made_by, file=folder / "config.yaml")
    with pytest.warns(UserWarning, match="missing.yaml could not be kept there"):
        logger.tell(file=folder / "missing.yaml", checkpoint=folder / "config.yaml")  # no checkpoint is kept
    logger.save()
    run = client.get_run(logger.run_id)
    assert run.info.run_name == "dhc n=4, seed 0 · 946a9d60" and run.data.tags["mlflow.parentRunId"] == "1" * 32
    assert len(run.data.params) == 252 and run.data.params["model.d"] == "128" and "ada" not in str(run.data.params)
    assert len(run.data.params["model.text"]) == 250
    assert (run.data.tags["git.commit"], run.data.tags["git.dirty"]) == ("c0ffee", "False")
    assert "mlflow.user" in run.data.tags
    assert all(math.isnan(points(logger, name)[0][1]) for name in ("up", "nan"))
    assert points(logger, "arc_easy_/accuracy") == [(3, 0.5)]
    begin().tell(checkpoint=folder / "config.yaml")
    assert {artifact.path for artifact in client.list_artifacts(logger.run_id)} == {"config.yaml", "checkpoints"}
    assert "MLFLOW_TRACKING_URI" not in os.environ, "the next run of this process would use this one's store"


@pytest.mark.parametrize("kind", [FileLogger, MLflowLogger])
def test_other_ranks_write_nothing(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("hcexp.tracking.logger.rank_zero_only.rank", 1)
    logger = kind(runs=tmp_path / "runs", folder=tmp_path / "runs" / "a")
    logger.log_metrics({"a": 1.0}, 1)
    logger.tell(params={"a": 1})
    logger.save()
    logger.finalize("success")
    logger.fail(RuntimeError("x"))
    assert logger.run_id == "" and not (tmp_path / "runs").exists()


def test_the_knobs_are_those_of_the_yaml(runs, folder):
    where = {"runs": str(runs), "folder": str(folder), "step": 0, "run_name": "a run"}
    for tracking, kind in (("none", FileLogger), ("mlflow", MLflowLogger)):
        assert type(instantiate(compose([f"tracking={tracking}", "data=local"]).tracking, **where)) is kind
    with pytest.raises(ValueError, match="tracking.flush_seconds must not be negative, got -1"):
        FileLogger(folder, flush_seconds=-1)
