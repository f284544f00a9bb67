"""A run that was interrupted sees the batches, and logs the steps, of one that was not."""

from functools import cache
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from hcexp.callbacks import StepCheckpoint
from hcexp.data import TextData

STEPS = 6


class Recorder(LightningModule):
    """One weight, trained on what it sees: (optimiser step, inputs of the micro-batch)."""

    def __init__(self, fail_at: int | None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.fail_at, self.seen = fail_at, []

    def training_step(self, batch, batch_idx):
        if len(self.seen) == self.fail_at:
            raise InterruptedError
        inputs, targets = batch
        self.seen.append((self.global_step, inputs.flatten().tolist()))
        loss = (self.weight - (inputs * targets).double().mean().float() / 1e6) ** 2
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "a.txt").write_text(" ".join(map(str, range(100))))
    return TextData(files=folder / "a.txt", cache=folder, sequence_length=8, batch_size=6, seed=5)


@pytest.fixture(scope="module")
def fit(tmp_path_factory, data):
    """Trains, and validates every so many micro-batches; what was seen, logged and learnt, and saved in `folder`."""

    def fit(accumulate, interval=None, steps=STEPS, resume=None, fail_at=None, save_each=False):
        model, logger, folder = Recorder(fail_at), Mock(spec=Logger), tmp_path_factory.mktemp("fit")
        each_step = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1, save_last=True)
        failure = LambdaCallback(on_exception=lambda trainer, *_: trainer.save_checkpoint(folder / "failed.ckpt"))
        # Without the first the callback of every run, which also rewinds a checkpoint.
        callbacks = [each_step if save_each else StepCheckpoint(folder=folder), failure]
        knobs = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
        knobs |= {"val_check_interval": interval, "limit_val_batches": 1 if interval else 0, "num_sanity_val_steps": 0}
        knobs |= {"accumulate_grad_batches": accumulate, "check_val_every_n_epoch": None, "log_every_n_steps": 1}
        trainer = Trainer(max_steps=steps, callbacks=callbacks, logger=logger, **knobs)
        try:
            trainer.fit(model, data.train_loader(trainer), [[0]], ckpt_path=resume, weights_only=False)
        except InterruptedError:
            assert fail_at is not None
        assert trainer.global_step == (steps if fail_at is None else fail_at // accumulate)
        logged = [call.kwargs for call in logger.log_metrics.call_args_list]
        logged = [each["step"] for each in logged if "loss" in each["metrics"]]
        return SimpleNamespace(seen=model.seen, steps=logged, weight=model.weight.item(), folder=folder)

    return fit


@pytest.fixture(scope="module")
def whole(fit):
    """An uninterrupted run, saved after each step."""
    return cache(lambda accumulate, interval=None: fit(accumulate, interval, save_each=True))


def assert_goes_on(found, whole, accumulate: int, stop: int) -> None:
    assert found.seen == whole.seen[stop * accumulate :]
    assert found.steps == list(range(stop, STEPS))
    assert found.weight == whole.weight


@pytest.mark.parametrize(("accumulate", "workers"), [(1, 0), (3, 0), (3, 2)])
def test_an_uninterrupted_run_sees_each_steps_batch(fit, data, monkeypatch, accumulate, workers):
    monkeypatch.setattr(data, "workers", workers)
    run = fit(accumulate)
    assert STEPS * 6 > len(data.samples)  # into a second epoch of the text
    batches = data.batches()
    micro_batches = [(step, micro) for step in range(STEPS) for micro in batches[step][0].chunk(accumulate)]
    assert run.seen == [(step, inputs.flatten().tolist()) for step, inputs in micro_batches]
    assert run.steps == list(range(STEPS))


@pytest.mark.parametrize(("accumulate", "interval"), [(1, None), (3, None), (3, 6)])
def test_resumed_from_a_checkpoint_of_a_step_or_extended(fit, whole, accumulate, interval):
    whole = whole(accumulate, interval)
    checkpoints = {whole.folder / f"step={stop}.ckpt": stop for stop in (1, 4, STEPS)}
    if (accumulate, interval) == (3, None):
        finished = fit(3, steps=2, save_each=True).folder
        checkpoints |= {finished / "last.ckpt": 2, finished / "step=2.ckpt": 2}
    for checkpoint, stop in checkpoints.items():
        assert_goes_on(fit(accumulate, interval, resume=checkpoint), whole, accumulate, stop)


@pytest.mark.parametrize("validate_every", [None, 2])
@pytest.mark.parametrize(("accumulate", "fail_at"), [(1, 0), (1, 5), (3, 1), (3, 6), (3, 13), (3, 14)])
def test_resumed_from_a_failure_even_between_micro_batches(fit, whole, accumulate, fail_at, validate_every):
    interval = validate_every and validate_every * accumulate
    failed = fit(accumulate, interval, fail_at=fail_at).folder / "failed.ckpt"
    found = fit(accumulate, interval, resume=failed)
    assert_goes_on(found, whole(accumulate, interval), accumulate, fail_at // accumulate)
