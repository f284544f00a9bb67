"""A run that was interrupted sees the batches, and logs the steps, of one that was not."""

from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from hcexp.callbacks import StepCheckpoint
from hcexp.data import TextData

STEPS = 6


class Recorder(LightningModule):
    """One weight, trained on what it sees: (optimiser step, inputs of the micro-batch)."""

    def __init__(self, fail_at: int | None = None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.fail_at, self.seen, self.validated = fail_at, [], []

    def training_step(self, batch, batch_idx):
        if len(self.seen) == self.fail_at:
            raise InterruptedError
        inputs, targets = batch
        self.seen.append((self.global_step, inputs.flatten().tolist()))
        loss = (self.weight - (inputs * targets).double().mean().float() / 1e6) ** 2
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.validated.append(self.global_step)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveOnFailure(Callback):
    """As `ModelCheckpoint(save_on_exception=True)`, but in the first step too."""

    def __init__(self, path: Path):
        self.path = path

    def on_exception(self, trainer, *arguments):
        trainer.save_checkpoint(self.path)


class Steps(Logger):
    name = version = ""

    def __init__(self):
        super().__init__()
        self.steps: list[int] = []

    def log_metrics(self, metrics, step):
        if "loss" in metrics:
            self.steps.append(step)

    def log_hyperparams(self, *arguments, **more):
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "a.txt").write_text(" ".join(map(str, range(100))))

    def make(**more):
        return TextData(files=folder / "a.txt", cache=folder, sequence_length=8, batch_size=6, seed=5, **more)

    return make


@pytest.fixture
def fit(tmp_path, data):

    def fit(accumulate: int, steps: int = STEPS, resume=None, fail_at=None, validate_every=None, workers=0,
            callbacks: tuple[Callback, ...] = ()):  # fmt: skip
        model, logger = Recorder(fail_at), Steps()
        saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
        if not saves:  # the callback of every run, which also rewinds a checkpoint
            callbacks = (*callbacks, StepCheckpoint(folder=tmp_path / "steps"))
        trainer = Trainer(
            max_steps=steps, accumulate_grad_batches=accumulate, callbacks=list(callbacks), logger=logger,
            log_every_n_steps=1, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0, check_val_every_n_epoch=None,
            val_check_interval=validate_every, limit_val_batches=0 if validate_every is None else 1,
        )  # fmt: skip
        try:
            trainer.fit(model, data(workers=workers).train_loader(trainer), [[0]], ckpt_path=resume, weights_only=False)
        except InterruptedError:
            assert fail_at is not None
        assert trainer.global_step == (steps if fail_at is None else fail_at // accumulate)
        if fail_at is None and resume is None and validate_every is not None:
            assert model.validated == list(range(validate_every // accumulate, steps + 1, validate_every // accumulate))
        return model.seen, logger.steps, model.weight.item()

    return fit


@pytest.mark.parametrize(("accumulate", "workers"), [(1, 0), (3, 0), (3, 2)])
def test_an_uninterrupted_run_sees_each_steps_batch(fit, data, accumulate, workers):
    seen, steps, _ = fit(accumulate, workers=workers)
    assert STEPS * 6 > len(data().samples)  # into a second epoch of the text
    batches = data().batches()
    micro_batches = [(step, micro) for step in range(STEPS) for micro in batches[step][0].chunk(accumulate)]
    assert seen == [(step, inputs.flatten().tolist()) for step, inputs in micro_batches]
    assert steps == list(range(STEPS))


@pytest.fixture(scope="module")
def wholes():
    """What an uninterrupted run saw, by its arguments."""
    return {}


@pytest.mark.parametrize(("accumulate", "validate_every"), [(1, None), (3, None), (3, 2)])
def test_resumed_from_a_checkpoint_of_a_step(fit, wholes, tmp_path, accumulate, validate_every):
    interval = validate_every and validate_every * accumulate
    save = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=1, save_top_k=-1)
    whole = wholes[accumulate, interval] = fit(accumulate, validate_every=interval, callbacks=(save,))
    for stop in (1, 4, STEPS):
        path = tmp_path / "saved" / f"step={stop}.ckpt"
        seen, steps, weight = fit(accumulate, resume=path, validate_every=interval)
        assert seen == whole[0][stop * accumulate :]
        assert steps == list(range(stop, STEPS))
        assert weight == whole[2]


@pytest.mark.parametrize("validate_every", [None, 2])
@pytest.mark.parametrize(("accumulate", "fail_at"), [(1, 0), (1, 5), (3, 1), (3, 6), (3, 13), (3, 14)])
def test_resumed_from_a_failure_even_between_micro_batches(fit, wholes, tmp_path, accumulate, fail_at, validate_every):
    interval = validate_every and validate_every * accumulate
    if (accumulate, interval) not in wholes:
        wholes[accumulate, interval] = fit(accumulate, validate_every=interval)
    whole = wholes[accumulate, interval]
    failed = tmp_path / "failed.ckpt"
    fit(accumulate, fail_at=fail_at, validate_every=interval, callbacks=(SaveOnFailure(failed),))
    seen, steps, weight = fit(accumulate, resume=failed, validate_every=interval)
    stop = fail_at // accumulate
    assert seen == whole[0][stop * accumulate :]
    assert steps == list(range(stop, STEPS))
    assert weight == whole[2]


@pytest.mark.parametrize("end", [True, False])
def test_a_finished_run_is_extended(fit, tmp_path, end):
    whole = fit(3)
    save = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=1, save_top_k=-1, save_last=True)
    fit(3, steps=2, callbacks=(save,))
    seen, _, weight = fit(3, resume=tmp_path / "saved" / ("last.ckpt" if end else "step=2.ckpt"))
    assert seen == whole[0][2 * 3 :] and weight == whole[2]
