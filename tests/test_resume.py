"""A run that was killed, or that its machine or its servers failed, goes on as if nothing had happened."""

import errno
import json
import os
import shutil
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

import hcexp.callbacks.checkpoint
import hcexp.run.train
from hcexp.callbacks import StepCallback, latest
from hcexp.configuration import compose
from hcexp.run.module import TrainingModule
from hcexp.run.run import Run
from tests.conftest import MINUTE

# The curves' points, the checkpoints and the validations fall on different steps, and the last is none of the first.
KNOBS = (
    "residual=dhc",
    "tracking=mlflow",
    "steps=10",
    "evaluation.every=4",
    "callbacks.checkpoint.every_n_steps=2",
    "callbacks.curves.every=3",
    "callbacks.curves.spike_warmup=3",
    "callbacks.curves.spike_threshold=1.0",
)


class Left:
    """What a run leaves: all that must not depend on how often it was interrupted."""

    def __init__(self, run, store):
        result = run.result()
        assert result["state"] == "finished"
        self.metrics = {name: value for name, value in result["metrics"].items() if not name.startswith("perf/")}
        checkpoint = torch.load(latest(run.directory / "checkpoints"), weights_only=True)
        self.tensors = dict(_tensors({"state": checkpoint["state_dict"], "optimizer": checkpoint["optimizer_states"]}))
        self.schedule, self.curves = checkpoint["lr_schedulers"], checkpoint["callbacks"]["Curves"]
        with sqlite3.connect(store) as database:
            this = [result["run_id"]]
            points = database.execute("select key, step, value from metrics where run_uuid = ?", this).fetchall()
            self.status = database.execute("select status from runs where run_uuid = ?", this).fetchone()
        twice = [point for point, count in Counter(point[:2] for point in points).items() if count > 1]
        assert not twice
        self.last = {key: value for key, step, value in sorted(points) if key.startswith("perf/") and step == 10}
        self.points = sorted(point for point in points if not point[0].startswith("perf/"))

    def __eq__(self, other):
        assert self.metrics == other.metrics
        assert self.points == other.points
        assert self.tensors.keys() == other.tensors.keys()
        assert [name for name, tensor in self.tensors.items() if not torch.equal(tensor, other.tensors[name])] == []
        return (self.schedule, self.curves, self.status) == (other.schedule, other.curves, other.status)


def _tensors(content, name=""):
    if isinstance(content, torch.Tensor):
        yield name, content
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield from _tensors(value, f"{name}.{key}")


@pytest.fixture(scope="module")
def begin(texts, mlflow_template):
    """Makes the run in a folder with a store of its own."""

    def make(folder, *overrides):
        if not (folder / "mlflow.db").exists():
            folder.mkdir(exist_ok=True)
            shutil.copy(mlflow_template, folder / "mlflow.db")
        files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt"]
        arguments = [*MINUTE, *files, f"paths.cache={texts}/cache", f"paths.runs={folder}", *KNOBS, *overrides]
        return Run(compose(arguments), arguments)

    return make


@pytest.fixture(scope="module")
def undisturbed(begin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run = begin(folder)
    result = run.train()
    left = Left(run, folder / "mlflow.db")
    assert left.last == {name: value for name, value in result["metrics"].items() if name.startswith("perf/")}
    assert [step for name, step, _ in left.points if name == "train/loss"] == [3, 6, 9, 10]
    assert [step for name, step, _ in left.points if name == "local/mean/loss"] == [4, 8, 10]
    return left


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def forked(act):
    """Acts in a process of its own, which has to be killed in it."""
    pid = os.fork()
    if not pid:
        try:
            act()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


# Killed


def dies(owner, name, when=lambda *_: True):
    """A moment: where this is called, and that is so."""

    def moment(patch):
        genuine = getattr(owner, name)
        patch.setattr(owner, name, lambda *a, **k: die() if when(*a) else genuine(*a, **k))

    return moment


def at(step):
    return lambda module, *_: module.trainer.global_step == step


in_a_step = dies(TrainingModule, "training_step", at(7))
in_a_step_after_a_point = dies(TrainingModule, "training_step", at(9))  # of the curves, which no checkpoint has
in_validation = dies(TrainingModule, "validation_step", at(8))
between_rename_and_deletion = dies(hcexp.callbacks.checkpoint, "remove")
before_the_first_step = dies(hcexp.run.train, "_fit")
after_the_last_step = dies(Trainer, "validate")
before_the_result = dies(hcexp.run.train, "_finish")


def before_the_final_metrics(patch):
    patch.setattr(hcexp.callbacks.Throughput, "metrics", property(die))


def while_a_checkpoint_is_written(patch):
    genuine = torch.save

    def save(content, file):
        if content["global_step"] == 6:
            file.write(b"PK\3\4 and so on")
            file.flush()
            die()
        genuine(content, file)

    patch.setattr(torch, "save", save)


def while_metrics_are_written(patch):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    genuine = SqlAlchemyStore._update_latest_metrics_if_necessary

    def update(self, metrics, session):
        genuine(self, metrics, session)
        if any(metric.step >= 6 for metric in metrics):
            die()

    patch.setattr(SqlAlchemyStore, "_update_latest_metrics_if_necessary", update)


AT_ONCE, AT_CHECKPOINTS = 0, 1000  # seconds until points reach the store


MOMENTS = {
    "before the first step": (before_the_first_step, AT_ONCE),
    "in a step": (in_a_step, AT_CHECKPOINTS),
    "in a step after a point": (in_a_step_after_a_point, AT_ONCE),
    "in a step after a point that was not sent": (in_a_step_after_a_point, AT_CHECKPOINTS),
    "in validation": (in_validation, AT_ONCE),
    "while a checkpoint is written": (while_a_checkpoint_is_written, AT_CHECKPOINTS),
    "between rename and deletion": (between_rename_and_deletion, AT_ONCE),
    "while metrics are written": (while_metrics_are_written, AT_ONCE),
    "while many metrics are written": (while_metrics_are_written, AT_CHECKPOINTS),
    "after the last step": (after_the_last_step, AT_CHECKPOINTS),
    "before the final metrics": (before_the_final_metrics, AT_ONCE),
    "before the result": (before_the_result, AT_CHECKPOINTS),
}


@pytest.mark.parametrize(("moment", "flush"), MOMENTS.values(), ids=MOMENTS)
def test_a_killed_run_ends_as_if_nothing_had_been(begin, undisturbed, tmp_path, monkeypatch, moment, flush):
    knob = f"tracking.flush_seconds={flush}"
    run = begin(tmp_path, knob)
    with monkeypatch.context() as patch:
        moment(patch)
        forked(run.train)
    assert run.result()["state"] == "missing"
    begin(tmp_path, knob).train()
    assert Left(run, tmp_path / "mlflow.db") == undisturbed


def test_one_that_is_killed_again_and_again_too(begin, undisturbed, tmp_path, monkeypatch):
    for moment in (while_a_checkpoint_is_written, in_a_step, in_validation, in_validation, before_the_result):
        with monkeypatch.context() as patch:
            moment(patch)
            forked(begin(tmp_path, "tracking.flush_seconds=0").train)
    result = begin(tmp_path).train()
    assert Left(begin(tmp_path), tmp_path / "mlflow.db") == undisturbed
    assert [attempt["step"] for attempt in result["attempts"]] == [0, 4, 6, 10]


@pytest.mark.parametrize("step", [4, 7])  # where a checkpoint and a validation are due, and where they are not
def test_one_that_is_sent_sigterm_too(begin, undisturbed, tmp_path, monkeypatch, step):
    genuine = TrainingModule.training_step

    def training_step(self, *arguments):
        if self.trainer.global_step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return genuine(self, *arguments)

    run = begin(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(SIGTERMException):
        patch.setattr(TrainingModule, "training_step", training_step)
        run.train()
    assert run.result()["state"] == "failed"
    assert latest(run.directory / "checkpoints").name == f"step={step:06}.ckpt"
    begin(tmp_path).train()
    assert Left(run, tmp_path / "mlflow.db") == undisturbed


@pytest.fixture(scope="module")
def stopped(begin, tmp_path_factory):
    """The folder of a run that was killed in its eighth step."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        in_a_step(patch)
        forked(begin(folder).train)
    return folder


@pytest.fixture
def again(begin, stopped, tmp_path):
    """That run, in a copy of its folder."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    return begin(tmp_path)


def test_a_damaged_checkpoint_costs_steps_but_changes_nothing(again, undisturbed, tmp_path):
    newest = latest(again.directory / "checkpoints")
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 8
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match="step=000006.ckpt .*: the run goes on from step=000004.ckpt"):
        again.train()
    assert Left(again, tmp_path / "mlflow.db") == undisturbed


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(again):
    before = {path: path.write_bytes(b"") for path in (again.directory / "checkpoints").iterdir()}
    with pytest.raises(ValueError, match="no checkpoint in .* is whole: .* delete the folder") as error:
        again.train()
    assert "\n" not in str(error.value) and set((again.directory / "checkpoints").iterdir()) == set(before)


def test_a_checkpoint_of_another_network_is_refused_in_one_line(again):
    newest = latest(again.directory / "checkpoints")
    content = torch.load(newest, weights_only=True)
    content["state_dict"]["model.extra"] = content["state_dict"].popitem()[1]
    torch.save(content, newest)
    with pytest.raises(ValueError, match="step=000006.ckpt is of another network .*: use the code") as error:
        again.train()
    assert "\n" not in str(error.value)


# No room


@pytest.mark.parametrize("name", ["result.json", "step=000004.ckpt", "config.yaml", "tracking.json"])
def test_a_full_disk_is_one_line_and_with_room_the_run_goes_on(begin, undisturbed, tmp_path, monkeypatch, name):
    genuine = os.replace

    def replace(source, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(source, target)

    run = begin(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match=f"{name} was not written.*make room") as error:
            run.train()
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
    assert run.result()["state"] == ("missing" if name == "result.json" else "failed")
    assert not list(run.directory.rglob("*.partial"))
    begin(tmp_path).train()
    assert Left(run, tmp_path / "mlflow.db") == undisturbed


# Data


@pytest.mark.parametrize("harm", ["cut", "deleted"])
def test_a_damaged_shard_costs_no_more_than_its_repair(begin, undisturbed, tmp_path, monkeypatch, harm):
    cache = f"paths.cache={tmp_path}/cache"
    run = begin(tmp_path, cache)
    run.prepare()
    shard = run.data.store.folder / "tokens-00000.bin"
    genuine = TrainingModule.training_step

    def training_step(self, *arguments):
        if self.trainer.global_step == 6:
            os.truncate(shard, 10) if harm == "cut" else shard.unlink()
            run.data.store._files.clear()  # as if this part of it were read for the first time
        return genuine(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", training_step)
        with pytest.raises(OSError, match=f"shard {shard} cannot be read .*delete {shard.parent}") as error:
            run.train()
    assert "\n" not in str(error.value) and "shard" in run.result()["error"]
    with pytest.raises(ValueError, match=f"shard {shard} .*delete {shard.parent}"):
        begin(tmp_path, cache).train()
    shutil.rmtree(shard.parent)
    begin(tmp_path, cache).train()
    assert Left(run, tmp_path / "mlflow.db") == undisturbed


# Pruned


class Pruner(StepCallback):
    def on_validation_end(self, trainer, pl_module):
        if trainer.global_step == 4:
            self.pruned = trainer.should_stop = True


def test_a_pruned_run_says_so_and_may_go_on(begin, undisturbed, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setattr("hcexp.study.search.pruning.Pruning", Pruner)
    run = begin(tmp_path, "+callbacks.pruning._target_=tests.test_resume.Pruner")
    result = run.train()
    assert (result["state"], result["steps"], result["tokens"]) == ("pruned", 4, 4 * 2 * 32)
    assert result["metrics"]["local/mean/loss"] and result["metrics"]["train/loss"]
    assert latest(run.directory / "checkpoints").name == "step=000004.ckpt"
    recorded = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(result["run_id"])
    assert (recorded.info.status, recorded.data.tags["pruned"]) == ("FINISHED", "4")

    again = begin(tmp_path)
    assert again.directory == run.directory
    assert again.train()["state"] == "finished"
    assert Left(run, tmp_path / "mlflow.db") == undisturbed


# What changed meanwhile


def test_a_configuration_that_was_edited_is_refused_and_shown(make_run, interrupt):
    run = make_run()
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    interrupt(None)
    path = run.directory / "config.yaml"
    whole = path.read_text()
    path.write_text(whole.replace("warmup: 1\n", "warmup: 2\n"))
    with pytest.raises(ValueError, match=f"^{path} is not what .* begun with: schedule.warmup: 2 → 1; restore"):
        make_run().train()
    path.write_text("seed: [")
    with pytest.raises(ValueError, match=f"^{path} is damaged [^\n]*$"):
        make_run().train()
    path.write_text(whole.replace("seconds: 10", "seconds: 5"))  # which has no effect on a result
    assert make_run().train()["state"] == "finished"


def test_every_code_that_had_part_in_a_result_is_listed(make_run, interrupt, monkeypatch):
    genuine = hcexp.run.train.record

    def attempt(code, stop):
        monkeypatch.setattr(hcexp.run.train, "record", lambda: genuine() | {"code": code})
        interrupt(stop)
        return make_run("callbacks.checkpoint.every_n_steps=2").train()

    with pytest.raises(KeyboardInterrupt):
        attempt("first", 3)
    changed = "the code has changed since this run's step 2"
    with pytest.warns(UserWarning, match=changed), pytest.raises(KeyboardInterrupt):
        attempt("without part", 3)
    with pytest.warns(UserWarning, match=changed):
        result = attempt("second", None)
    assert [(a["step"], a["code"]) for a in result["attempts"]] == [(0, "first"), (2, "second")]
    assert result["record"]["code"] == "second"


def test_what_a_finished_run_could_not_send_is_sent_by_the_same_command(begin, tmp_path):
    from mlflow import MlflowClient

    result = begin(tmp_path).train()
    with open(begin(tmp_path).directory / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 10, "time": 1, "metrics": {"late": 1.0}}) + "\n")
    assert begin(tmp_path).train() == result
    recorded = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(result["run_id"])
    assert recorded.data.metrics["late"] == 1.0 and recorded.info.status == "FINISHED"
