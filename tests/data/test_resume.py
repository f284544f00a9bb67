"""A run that was interrupted sees the batches, and logs the steps, of one that was not."""

from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

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
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def fit(tmp_path, cache):
    text = tmp_path / "a.txt"
    text.write_text(" ".join(map(str, range(100))))

    def fit(accumulate: int, steps: int = STEPS, resume=None, fail_at=None, validate_every=None, workers=0,
            callbacks: tuple[Callback, ...] = ()):  # fmt: skip
        data = TextData(text, cache=cache, sequence_length=8, batch_size=6, seed=5, workers=workers)
        data.validation = lambda rank, world_size: [[0]]
        model, logger = Recorder(fail_at), Steps()
        saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
        trainer = Trainer(
            max_steps=steps, accumulate_grad_batches=accumulate, callbacks=list(callbacks), logger=logger,
            log_every_n_steps=1, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
            enable_checkpointing=saves, num_sanity_val_steps=0, check_val_every_n_epoch=None,
            val_check_interval=validate_every, limit_val_batches=0 if validate_every is None else 1,
        )  # fmt: skip
        try:
            trainer.fit(model, data, ckpt_path=resume, weights_only=False)
        except InterruptedError:
            assert fail_at is not None
        assert trainer.global_step == (steps if fail_at is None else fail_at // accumulate)
        if fail_at is None and resume is None and validate_every is not None:
            assert model.validated == list(range(validate_every // accumulate, steps + 1, validate_every // accumulate))
        return model.seen, logger.steps, model.weight.item()

    return fit


def expected(data: TextData, accumulate: int) -> list[tuple[int, list[int]]]:
    micro_batches = [(step, micro) for step in range(STEPS) for micro in data.batch(step)[0].chunk(accumulate)]
    return [(step, inputs.flatten().tolist()) for step, inputs in micro_batches]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_uninterrupted_run_sees_each_steps_batch(fit, tmp_path, cache, accumulate, workers):
    seen, steps, _ = fit(accumulate, workers=workers)
    data = TextData(tmp_path / "a.txt", cache=cache, sequence_length=8, batch_size=6, seed=5)
    assert STEPS * 6 > data.sequences  # into a second epoch of the text
    assert seen == expected(data, accumulate)
    assert steps == list(range(STEPS))


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("stop", [1, 4])
@pytest.mark.parametrize("validate_every", [None, 2])
def test_resumed_from_a_checkpoint_of_a_step(fit, tmp_path, accumulate, stop, validate_every):
    interval = validate_every and validate_every * accumulate
    whole = fit(accumulate, validate_every=interval)
    save = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=1, save_top_k=-1)
    assert fit(accumulate, validate_every=interval, callbacks=(save,)) == whole
    path = tmp_path / "saved" / f"step={stop}.ckpt"
    seen, steps, weight = fit(accumulate, resume=path, validate_every=interval)
    assert seen == whole[0][stop * accumulate :]
    assert steps == list(range(stop, STEPS))
    assert weight == whole[2]


@pytest.mark.parametrize("validate_every", [None, 2])
@pytest.mark.parametrize(("accumulate", "fail_at"), [(1, 0), (1, 4), (1, 5), (3, 1), (3, 6), (3, 13), (3, 14)])
def test_resumed_from_a_failure_even_between_micro_batches(fit, tmp_path, accumulate, fail_at, validate_every):
    interval = validate_every and validate_every * accumulate
    whole = fit(accumulate, validate_every=interval)
    fit(
        accumulate,
        fail_at=fail_at,
        validate_every=interval,
        callbacks=(SaveOnFailure(tmp_path / "failed.ckpt"),),
    )
    seen, steps, weight = fit(accumulate, resume=tmp_path / "failed.ckpt", validate_every=interval)
    stop = fail_at // accumulate
    assert seen == whole[0][stop * accumulate :]
    assert steps == list(range(stop, STEPS))
    assert weight == whole[2]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("end", [True, False])
def test_a_finished_run_is_extended(fit, tmp_path, accumulate, end):
    whole = fit(accumulate)
    save = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=1, save_top_k=-1, save_last=True)
    fit(accumulate, steps=2, callbacks=(save,))
    seen, steps, weight = fit(accumulate, resume=tmp_path / "saved" / ("last.ckpt" if end else "step=2.ckpt"))
    assert seen == whole[0][2 * accumulate :]
    assert weight == whole[2]


def test_resuming_a_finished_run_trains_nothing(fit, tmp_path):
    save = ModelCheckpoint(tmp_path / "saved", save_last=True, every_n_train_steps=1)
    whole = fit(1, callbacks=(save,))
    seen, _, weight = fit(1, resume=tmp_path / "saved" / "last.ckpt")
    assert seen == [] and weight == whole[2]
