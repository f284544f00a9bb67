import builtins
import errno
import io
import os
import shutil
import signal
from collections import namedtuple

import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from hcexp.callbacks import StepCheckpoint, checkpoint_bytes, latest
from hcexp.callbacks.checkpoint_folder import remove

Usage = namedtuple("Usage", "total used free")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]["layer.weight"]


@pytest.fixture
def watched():
    """A `StepCheckpoint` that notes in `events` each optimiser step that it saves, with all that the test wants."""

    class Watched(StepCheckpoint):
        def __init__(self, every, folder, note=lambda module: ()):
            super().__init__(every, folder=folder)
            self.events, self.note = [], note

        def _save(self, trainer, pl_module):
            self.events.append((trainer.global_step, *self.note(pl_module)))
            super()._save(trainer, pl_module)

    return Watched


def test_the_newest_are_kept_and_the_log_is_written_before_each(regression, memory, fit, tmp_path):
    events = []

    class Watched(regression):
        def on_save_checkpoint(self, checkpoint):
            events.append("checkpoint")

    memory.save = lambda: events.append("log")
    module, folder = Watched(), tmp_path / "checkpoints"  # the default
    fit(module, [StepCheckpoint(5, keep=2)], 23, memory)
    assert names(folder) == ["step=000020.ckpt", "step=000023.ckpt"]
    assert torch.equal(weights(latest(folder)), module.layer.weight)
    places = [place for place, event in enumerate(events) if event == "checkpoint"]
    assert len(places) == 5 and all(events[place - 1] == "log" for place in places)


@pytest.mark.parametrize(("accumulate", "interrupted"), [(1, 5), (2, 8)])
def test_a_resumed_run_is_the_uninterrupted_one(regression, fit, tmp_path, accumulate, interrupted):
    # 14 batches an epoch: the interruption is inside one; a validation falls on some checkpoints
    knobs = {"accumulate_grad_batches": accumulate, "val_check_interval": 4 * accumulate, "limit_val_batches": 1}
    knobs |= {"check_val_every_n_epoch": None}
    whole = regression()
    fit(whole, [StepCheckpoint(50, folder=tmp_path / "whole")], 20, **knobs)
    first = regression()
    fit(first, [StepCheckpoint(4, folder=tmp_path / "parts")], interrupted, **knobs)
    checkpoint = latest(tmp_path / "parts")
    second = regression(start=interrupted * accumulate)
    fit(second, [StepCheckpoint(7, folder=tmp_path / "parts")], 20, ckpt=checkpoint, **knobs)
    assert first.seen + second.seen == whole.seen
    assert torch.equal(second.layer.weight, whole.layer.weight)
    assert first.validated + second.validated == whole.validated
    assert names(tmp_path / "parts") == ["step=000014.ckpt", "step=000020.ckpt"]


def test_nothing_is_saved_between_micro_batches(regression, fit, watched, tmp_path):
    fit(regression(), [StepCheckpoint(5, folder=tmp_path)], 5, accumulate_grad_batches=4)
    callback = watched(5, tmp_path, lambda module: [len(module.seen)])
    fit(regression(start=20), [callback], 15, ckpt=latest(tmp_path), accumulate_grad_batches=4)
    assert callback.events == [(10, 20), (15, 40)]


def test_where_a_validation_is_due_the_checkpoint_comes_after_it(regression, fit, watched, tmp_path):
    callback = watched(2, tmp_path, lambda module: [len(module.validated)])
    fit(regression(), [callback], 8, val_check_interval=4, limit_val_batches=1)
    assert callback.events == [(2, 0), (4, 1), (6, 1), (8, 2)]


@pytest.mark.parametrize("batch", [3, 4])  # the second is the last before a validation
def test_sigterm_saves_the_step_and_the_run_goes_on_from_it(regression, fit, tmp_path, batch):
    class Terminated(regression):
        def training_step(self, *args):
            if len(self.seen) == batch - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().training_step(*args)

    knobs = {"val_check_interval": 4, "limit_val_batches": 1}
    whole = regression()
    fit(whole, [], 10, **knobs)
    first = Terminated()
    with pytest.raises(SIGTERMException):
        fit(first, [StepCheckpoint(100, folder=tmp_path)], 10, **knobs)
    assert names(tmp_path) == [f"step={batch:06}.ckpt"]
    second = regression(start=batch)
    fit(second, [StepCheckpoint(100, folder=tmp_path)], 10, ckpt=latest(tmp_path), **knobs)
    assert first.seen + second.seen == whole.seen
    assert first.validated + second.validated == whole.validated
    assert torch.equal(second.layer.weight, whole.layer.weight)


def test_sigterm_inside_a_validation_goes_back_to_before_it(regression, fit, tmp_path):
    class Terminated(regression):
        def validation_step(self, batch, batch_idx):
            if batch_idx == 1 and self.trainer.global_step == 8:
                os.kill(os.getpid(), signal.SIGTERM)
            super().validation_step(batch, batch_idx)

    knobs = {"val_check_interval": 4, "limit_val_batches": 3}
    whole = regression(validation=3)
    fit(whole, [], 12, **knobs)
    first = Terminated(validation=3)
    with pytest.raises(SIGTERMException):
        fit(first, [StepCheckpoint(2, folder=tmp_path)], 12, **knobs)
    assert names(tmp_path) == ["step=000004.ckpt", "step=000006.ckpt"]
    second = regression(start=6, validation=3)
    fit(second, [StepCheckpoint(100, folder=tmp_path)], 12, ckpt=latest(tmp_path), **knobs)
    assert first.validated[:3] + second.validated == whole.validated
    assert torch.equal(second.layer.weight, whole.layer.weight)


def test_no_room_stops_before_training(regression, fit, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 2**20, 2**20))
    module = regression()
    with pytest.raises(OSError, match="3 checkpoints need .* free") as error:
        fit(module, [StepCheckpoint(5, folder=tmp_path)], 10)
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    assert module.seen == [] and names(tmp_path) == []


def test_the_room_of_older_checkpoints_is_counted(regression, fit, tmp_path, monkeypatch):
    fit(regression(), [StepCheckpoint(5, folder=tmp_path)], 10)
    free = 1.5 * checkpoint_bytes(regression(), [])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - free, free))
    fit(regression(start=10), [StepCheckpoint(5, folder=tmp_path)], 20, ckpt=latest(tmp_path))
    assert names(tmp_path) == ["step=000015.ckpt", "step=000020.ckpt"]


def test_no_room_stops_before_a_save(regression, fit, tmp_path, monkeypatch):
    class Filling(StepCheckpoint):
        def on_step_end(self, trainer, step):
            if step == 10:
                monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 0))
            super().on_step_end(trainer, step)

    with pytest.raises(OSError, match=r"1 checkpoint needs .* 0 B are free") as error:
        fit(regression(), [Filling(5, folder=tmp_path)], 20)  # and the error itself saves nothing
    assert error.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["step=000005.ckpt"] and weights(latest(tmp_path)).isfinite().all()


@pytest.mark.parametrize("survives", [0, 3000])  # bytes
def test_a_disk_that_fills_up_midway_leaves_the_earlier_ones(regression, fit, tmp_path, monkeypatch, survives):
    fit(regression(), [StepCheckpoint(5, folder=tmp_path)], 10)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    class Full(io.FileIO):
        written = 0

        def write(self, data):
            self.written += len(data)
            if self.written <= survives:
                return super().write(data)
            super().write(bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(path, mode="r", *args, genuine=builtins.open, **kwargs):
        new = mode == "wb" and str(path).startswith(str(tmp_path))
        return Full(path, "w") if new else genuine(path, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", full)
    with pytest.raises(OSError, match="step=000015.ckpt was not written .No space left on device.: make room") as error:
        fit(regression(start=10), [StepCheckpoint(5, folder=tmp_path)], 20, ckpt=latest(tmp_path))
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_estimate_is_close(fit, regression, tmp_path):
    class Large(regression):
        def __init__(self):
            super().__init__()
            self.extra = torch.nn.Linear(1000, 1000)
            self.frozen = torch.nn.Embedding(1000, 500).requires_grad_(False)

        def training_step(self, batch, batch_idx):
            outputs = super().training_step(batch, batch_idx)
            return outputs | {"loss": outputs["loss"] + self.extra.weight.mean() ** 2}

    module = Large()
    before = checkpoint_bytes(module, [torch.optim.AdamW(module.parameters())])
    trainer = fit(module, [StepCheckpoint(3, folder=tmp_path)], 3)
    size = latest(tmp_path).stat().st_size
    assert size < checkpoint_bytes(module, trainer.optimizers) < 1.2 * size
    assert size < before < 1.2 * size


def test_what_a_killed_process_left_is_removed(regression, fit, tmp_path, monkeypatch):
    """Half a checkpoint, and what it would have deleted after its last one."""
    (tmp_path / "step=000005.ckpt.partial").write_bytes(b"half")
    (tmp_path / "step=000004.ckpt.partial").mkdir()  # sharded
    (tmp_path / "step=000004.ckpt.partial" / "meta.pt").touch()

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Lightning would ignore Ctrl-C from here on

    def killed(path, genuine=remove):
        if path.suffix != ".partial":
            raise KeyboardInterrupt  # which Lightning makes an exit of
        genuine(path)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("hcexp.callbacks.checkpoint.remove", killed)
        fit(regression(), [StepCheckpoint(5, folder=tmp_path)], 20)
    assert names(tmp_path) == [f"step=0000{step}.ckpt" for step in ("05", "10", "15")]
    fit(regression(start=15), [StepCheckpoint(5, folder=tmp_path)], 20, ckpt=latest(tmp_path))
    assert names(tmp_path) == ["step=000015.ckpt", "step=000020.ckpt"]
