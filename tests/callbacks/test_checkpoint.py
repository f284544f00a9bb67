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

Usage = namedtuple("Usage", "total used free")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def files(*steps):
    return [f"step={step:06}.ckpt" for step in steps]


@pytest.fixture
def free(monkeypatch):
    """Says how many bytes are free on every disk."""
    return lambda size: monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - size, size))


def test_the_newest_are_kept_and_the_log_is_written_before_each(regression, memory, fit, tmp_path):
    events = []

    class Watched(regression):
        def on_save_checkpoint(self, checkpoint):
            events.append("checkpoint")

    memory.save = lambda: events.append("log")
    module, folder = Watched(), tmp_path / "checkpoints"  # the default
    fit(module, [StepCheckpoint(5, keep=2)], 23, memory)
    assert names(folder) == files(20, 23)
    saved = torch.load(latest(folder), weights_only=True)["state_dict"]["layer.weight"]
    assert torch.equal(saved, module.layer.weight)
    places = [place for place, event in enumerate(events) if event == "checkpoint"]
    assert len(places) == 5 and all(events[place - 1] == "log" for place in places)


def test_sigterm_inside_a_validation_goes_back_to_before_it(regression, fit, tmp_path):
    class Terminated(regression):
        def validation_step(self, batch, batch_idx):
            if batch_idx == 1 and self.trainer.global_step == 8:
                os.kill(os.getpid(), signal.SIGTERM)
            super().validation_step(batch, batch_idx)

    knobs = {"val_check_interval": 4, "limit_val_batches": 3}
    whole, first = regression(validation=3), Terminated(validation=3)
    fit(whole, [], 12, **knobs)
    with pytest.raises(SIGTERMException):
        fit(first, [StepCheckpoint(2, folder=tmp_path)], 12, **knobs)
    assert names(tmp_path) == files(4, 6)
    second = regression(start=6, validation=3)
    fit(second, [StepCheckpoint(100, folder=tmp_path)], 12, ckpt=latest(tmp_path), **knobs)
    assert first.validated[:3] + second.validated == whole.validated
    assert torch.equal(second.layer.weight, whole.layer.weight)


def test_a_save_comes_after_whole_steps_and_after_a_validation_that_is_due(regression, fit, tmp_path):
    class Watched(StepCheckpoint):
        def _save(self, trainer, pl_module):
            events.append((trainer.global_step, len(pl_module.seen), len(pl_module.validated)))
            super()._save(trainer, pl_module)

    events = []
    fit(regression(), [Watched(2, folder=tmp_path)], 8, val_check_interval=4, limit_val_batches=1)
    assert events == [(2, 2, 0), (4, 4, 1), (6, 6, 1), (8, 8, 2)]
    events.clear()
    callback = Watched(5, folder=tmp_path)
    fit(regression(start=32), [callback], 15, ckpt=latest(tmp_path), accumulate_grad_batches=4)
    assert events == [(10, 8, 0), (15, 28, 0)]


def test_no_room_stops_before_training_and_the_room_of_older_checkpoints_is_counted(regression, fit, tmp_path, free):
    module = regression()
    free(2**20)
    with pytest.raises(OSError, match="3 checkpoints need .* free") as error:
        fit(module, [StepCheckpoint(5, folder=tmp_path)], 10)
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    assert module.seen == [] and names(tmp_path) == []
    free(10**9)
    fit(module, [StepCheckpoint(5, folder=tmp_path)], 10)
    free(1.5 * checkpoint_bytes(module, []))
    fit(regression(start=10), [StepCheckpoint(5, folder=tmp_path)], 20, ckpt=latest(tmp_path))
    assert names(tmp_path) == files(15, 20)


def test_no_room_stops_before_a_save(regression, fit, tmp_path, free):
    class Filling(StepCheckpoint):
        def on_step_end(self, trainer, step):
            if step == 10:
                free(0)
            super().on_step_end(trainer, step)

    with pytest.raises(OSError, match=r"1 checkpoint needs .* 0 B are free") as error:
        fit(regression(), [Filling(5, folder=tmp_path)], 20)  # and the error itself saves nothing
    assert error.value.errno == errno.ENOSPC and names(tmp_path) == files(5) and latest(tmp_path)


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
    assert size < checkpoint_bytes(module, trainer.optimizers) < 1.2 * size and size < before < 1.2 * size


def test_what_a_killed_process_left_is_removed(regression, fit, tmp_path):
    """Half a checkpoint, and what it would have deleted after its last one."""
    fit(regression(), [StepCheckpoint(5, keep=3, folder=tmp_path)], 15)
    (tmp_path / "step=000020.ckpt.partial").write_bytes(b"half")
    (tmp_path / "step=000004.ckpt.partial").mkdir()  # sharded
    (tmp_path / "step=000004.ckpt.partial" / "meta.pt").touch()
    fit(regression(start=15), [StepCheckpoint(5, folder=tmp_path)], 20, ckpt=latest(tmp_path))
    assert names(tmp_path) == files(15, 20)
