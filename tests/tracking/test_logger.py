import math
import os

import lightning.pytorch as L
import pytest
import torch
from torch.utils.data import DataLoader

from hcexp.tracking import BufferedMLFlowLogger, NoTracking


def history(client, logger, name):
    return [(m.step, m.value) for m in client.get_metric_history(logger.run_id, name)]


@pytest.fixture
def calls(logger, monkeypatch):
    """How many metrics each call to MLflow's log_batch brought."""
    sizes, log_batch = [], logger.experiment.log_batch

    def counted(run_id, metrics=(), **more):
        sizes.append(len(metrics))
        return log_batch(run_id, metrics=metrics, **more)

    monkeypatch.setattr(logger.experiment, "log_batch", counted)
    return sizes


def test_metrics_go_in_large_batches_and_none_is_lost(logger, client, calls):
    for step in range(1000):
        logger.log_metrics({"train/loss": step / 7, "train/lr": 0.1}, step)
    assert calls == [900, 900], "written only when full"
    logger.finalize("success")
    assert calls == [900, 900, 200]
    assert history(client, logger, "train/loss") == [(step, step / 7) for step in range(1000)]
    assert client.get_run(logger.run_id).info.status == "FINISHED"


def test_more_metrics_than_a_call_takes(logger, client, calls):
    logger.log_metrics({f"set/{number}": number for number in range(2000)}, 1)
    assert calls == [900, 900, 200]
    assert history(client, logger, "set/1999") == [(1, 1999.0)]


def test_they_are_written_after_a_while(runs, client, monkeypatch):
    logger = BufferedMLFlowLogger(runs=runs, flush_seconds=10)
    now = logger._flushed
    monkeypatch.setattr("hcexp.tracking.logger.time.monotonic", lambda: now)
    logger.log_metrics({"a": 1.0}, 1)
    now += 9.9
    logger.log_metrics({"a": 2.0}, 2)
    assert history(client, logger, "a") == []
    now += 0.1
    logger.log_metrics({"a": 3.0}, 3)
    assert history(client, logger, "a") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_save_writes(logger, client):
    logger.log_metrics({"a": 1.0}, 1)
    logger.save()
    assert history(client, logger, "a") == [(1, 1.0)]


class Failing(L.LightningModule):
    def __init__(self, error):
        super().__init__()
        self.layer, self.error = torch.nn.Linear(1, 1), error

    def training_step(self, batch, batch_idx):
        if batch_idx == 5:
            raise self.error
        self.logger.log_metrics({"train/loss": float(batch_idx)}, batch_idx)
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("error", [RuntimeError("out of luck\nmore"), KeyboardInterrupt()])
def test_an_exception_loses_nothing(logger, client, error, tmp_path):
    trainer = L.Trainer(
        logger=logger,
        max_steps=10,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    with pytest.raises((RuntimeError, SystemExit)):
        trainer.fit(Failing(error), DataLoader(torch.zeros(10, 1)))
    assert history(client, logger, "train/loss") == [(step, float(step)) for step in range(5)]
    assert client.get_run(logger.run_id).info.status == "FAILED"


def test_a_failed_run_names_its_error(logger, client):
    logger.log_metrics({"a": 1.0}, 1)
    logger.fail(FloatingPointError("loss is nan at step 137\nand a traceback"))
    run = client.get_run(logger.run_id)
    assert run.info.status == "FAILED" and run.data.tags["error"] == "FloatingPointError: loss is nan at step 137"
    assert history(client, logger, "a") == [(1, 1.0)]


def test_an_interrupted_run_is_killed(logger, client):
    logger.fail(KeyboardInterrupt())
    assert client.get_run(logger.run_id).info.status == "KILLED"


def test_a_resumed_run_goes_on_in_the_same_one(logger, runs, client):
    logger.log_hyperparams({"optimizer": {"lr": 0.1}})
    logger.log_metrics({"a": 1.0}, 1)
    logger.fail(RuntimeError("broken"))
    again = BufferedMLFlowLogger(runs=runs, run_id=logger.run_id)
    run = client.get_run(logger.run_id)
    assert run.info.status == "RUNNING" and "error" not in run.data.tags
    again.log_hyperparams({"optimizer": {"lr": 0.2, "beta": 0.9}})
    again.log_metrics({"a": 2.0}, 2)
    again.finalize()
    run = client.get_run(logger.run_id)
    assert again.run_id == logger.run_id and run.info.status == "FINISHED"
    assert run.data.params == {"optimizer.lr": "0.1", "optimizer.beta": "0.9"}
    assert history(client, logger, "a") == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("deleted", [False, True])
def test_a_run_that_is_gone_is_begun_anew(logger, runs, client, deleted):
    run_id = logger.run_id if deleted else "0" * 32
    if deleted:
        client.delete_run(run_id)
    with pytest.warns(UserWarning, match=f"{run_id} is not in"):
        again = BufferedMLFlowLogger(runs=runs, run_id=run_id)
    again.log_metrics({"a": 1.0}, 1)
    again.finalize()
    assert again.run_id != run_id and history(client, again, "a") == [(1, 1.0)]


def test_of_a_step_that_the_store_has_nothing_is_written_again(logger, runs, client):
    logger.log_metrics({"a": 1.0, "b": 1.0}, 1)
    logger.log_metrics({"a": 2.0}, 2)
    logger.save()
    logger.log_metrics({"a": 2.5, "b": 2.5}, 2)  # as the final metrics repeat the last point
    logger.save()  # killed after that: the run goes on from step 0
    again = BufferedMLFlowLogger(runs=runs, run_id=logger.run_id)
    for step in (1, 2, 3):
        again.log_metrics({"a": 10.0 * step, "b": 10.0 * step}, step)
    again.finalize()
    assert history(client, again, "a") == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert history(client, again, "b") == [(1, 1.0), (2, 2.5), (3, 30.0)]


def test_a_pruned_run_ends_normally_and_says_where(logger, runs, client):
    logger.finalize()
    logger.prune(7)
    run = client.get_run(logger.run_id)
    assert (run.info.status, run.data.tags["pruned"]) == ("FINISHED", "7")
    BufferedMLFlowLogger(runs=runs, run_id=logger.run_id)
    run = client.get_run(logger.run_id)
    assert run.info.status == "RUNNING" and "pruned" not in run.data.tags


def test_what_is_not_finite_stays_readable(logger, client):
    logger.log_metrics({"a": math.inf, "b": -math.inf, "c": math.nan, "d": torch.tensor(2.0)}, 3)
    logger.save()
    assert all(math.isnan(history(client, logger, name)[0][1]) for name in "abc")
    assert history(client, logger, "d") == [(3, 2.0)]


def test_a_name_that_mlflow_refuses_is_mended(logger, client):
    logger.log_metrics({"downstream/arc(easy)/accuracy": 0.5}, 1)
    logger.save()
    assert history(client, logger, "downstream/arc_easy_/accuracy") == [(1, 0.5)]


def test_many_parameters(logger, client):
    config = {
        "_target_": "x",
        "model": {"_target_": "y", "d": 128, "text": "é" * 400},
        "out": "/home/ada/runs",
    }
    logger.log_hyperparams(config | {f"p{number}": number for number in range(250)})
    params = client.get_run(logger.run_id).data.params
    assert len(params) == 252 and params["model.d"] == "128" and len(params["model.text"]) == 250
    assert "ada" not in str(params)


def test_the_environment_stays_as_it_was(runs, monkeypatch):
    assert BufferedMLFlowLogger(runs=runs).run_id
    assert "MLFLOW_TRACKING_URI" not in os.environ, "the next run of this process would use this one's store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs / 'mlflow.db'}")
    assert BufferedMLFlowLogger(runs="elsewhere").run_id
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{runs / 'mlflow.db'}"


def test_other_ranks_open_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("hcexp.tracking.logger.rank_zero_only.rank", 1)
    logger = BufferedMLFlowLogger(runs=tmp_path / "runs", run_id="a")
    logger.log_metrics({"a": 1.0}, 1)
    logger.log_hyperparams({"a": 1})
    logger.save()
    logger.finalize("success")
    assert not (tmp_path / "runs").exists()


def test_tags_and_name(runs, client):
    logger = BufferedMLFlowLogger(runs=runs, run_name="dhc-seed0", tags={"mlflow.parentRunId": "1" * 32})
    run = client.get_run(logger.run_id)
    assert run.info.run_name == "dhc-seed0" and run.data.tags["mlflow.parentRunId"] == "1" * 32


def test_knobs_are_checked():
    with pytest.raises(ValueError, match="tracking.flush_seconds must not be negative, got -1"):
        BufferedMLFlowLogger(flush_seconds=-1)


def test_no_tracking_takes_the_same_calls(tmp_path):
    logger = NoTracking(runs=tmp_path, run_name="a", run_id="b", tags={})
    logger.log_metrics({"a": 1.0}, 1)
    logger.log_hyperparams({"a": 1})
    logger.flush()
    logger.fail(RuntimeError("x"))
    logger.finalize("success")
    assert logger.run_id == "" and logger.tracking_uri == "" and not list(tmp_path.iterdir())


def test_record_and_files_are_kept_with_the_run(logger, client, tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0")
    logger.log_record({"git": {"commit": "c0ffee", "dirty": False}, "hardware": {"cores": 2}})
    logger.log_file(tmp_path / "config.yaml")
    logger.log_checkpoint(tmp_path / "config.yaml")
    tags = client.get_run(logger.run_id).data.tags
    assert (tags["git.commit"], tags["git.dirty"], tags["hardware.cores"]) == ("c0ffee", "False", "2")
    assert {artifact.path for artifact in client.list_artifacts(logger.run_id)} == {"config.yaml", "checkpoints"}


def test_a_file_that_cannot_be_kept_is_warned_of(logger, tmp_path):
    with pytest.warns(UserWarning, match="missing.ckpt could not be kept"):
        logger.log_file(tmp_path / "missing.ckpt")


def test_a_checkpoint_may_be_left_out(runs, client, tmp_path):
    logger = BufferedMLFlowLogger(runs=runs, checkpoint=False)
    (tmp_path / "step=000001.ckpt").write_text("")
    logger.log_checkpoint(tmp_path / "step=000001.ckpt")
    assert not client.list_artifacts(logger.run_id)
