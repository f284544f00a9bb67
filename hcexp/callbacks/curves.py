"""The training curves: loss and what else is reported, gradient norm, learning rate, and their spikes."""

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from hcexp.callbacks.spikes import SpikeScore
from hcexp.callbacks.step import StepCallback


def average_name(ema: float) -> str:
    """Of the moving average of the training loss with this decay: `train/loss_ema99` for 0.99."""
    return f"train/loss_ema{f'{ema:g}'.removeprefix('0.')}"


class Curves(StepCallback):
    """Loss and gradient norm of every optimiser step, logged every few, with no wait for the device between.

    What each step reports (`reported` of the training step's outputs, 0-d tensors by name, `loss` among them: the mean
    over its micro-batches, and over devices) and its gradient norm (before clipping, from `pl_module.grad_norm`) stay
    on the device. Every `every` steps one copy brings them to the host, where each loss and gradient norm enters the
    moving average and the spike scores; then these are logged at that step:

    - `train/loss` and `train/<name>` of whatever else is reported: mean over the steps since the last point;
      `train/grad_norm`, `train/lr`: of this very step;
    - `train/loss_ema99`: the debiased moving average, `m_t = ema·m_{t-1} + (1-ema)·loss_t` over `1 -
      ema^t`, so that the first steps count no zeros; the number in the name is that of `ema`;
    - `train/spikes`, `train/spike_score`, `train/grad_norm_spikes`, `train/grad_norm_spike_score`: how
      many, and their share of the steps judged (see `SpikeScore`; a share is not logged before one was).

    A loss or gradient norm that is not finite ends the run with `FloatingPointError`, at the next copy,
    which also precedes every checkpoint: so a checkpoint never has one in its past. (Under a gradient
    scaler, float16's, an infinite gradient norm is a step that was skipped, and only counts as a spike.)

    Args:
        every: optimiser steps between two points of a curve.
        ema: decay of the moving average, 0 to 1; the paper draws its curves with 0.99.
        spike_threshold: see `SpikeScore`, as the next two.
    """

    def __init__(
        self,
        every: int = 10,
        ema: float = 0.99,
        spike_threshold: float = 7.0,
        spike_window: int = 1000,
        spike_warmup: int = 50,
    ) -> None:
        if every < 1:
            raise ValueError(f"callbacks.curves.every must be at least 1 optimiser step, got {every}")
        if not 0 <= ema < 1:
            raise ValueError(f"callbacks.curves.ema must be at least 0 and below 1, got {ema}")
        self.every, self.ema = every, ema
        self.loss_spikes = SpikeScore(spike_threshold, spike_window, spike_warmup)
        self.grad_norm_spikes = SpikeScore(spike_threshold, spike_window, spike_warmup)
        self.steps = 0  # optimiser steps in the curves
        self._average = 0.0  # the moving average before debiasing
        self._sums: dict[str, float] = {}  # of what is reported since the last point, in so many steps:
        self._count = 0
        self._means: dict[str, float] = {}  # at the last point
        self._loss = self._grad_norm = self._learning_rate = math.nan
        self._failure: str | None = None
        self._drop_pending()

    def _drop_pending(self) -> None:
        self._reported: list[dict[str, Tensor]] = []  # each 0-d, on the device, one of each name a step; likewise:
        self._grad_norms: list[Tensor] = []
        self._scales: list[float] = []  # to make a mean over micro-batches of their sum
        self._open: dict[str, Tensor] = {}  # of the step whose micro-batches are still coming
        self._micro_batches = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._drop_pending()
        self._scaler = getattr(trainer.precision_plugin, "scaler", None) is not None

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        # Here, because the scheduler has moved on by the end of the batch.
        rate = optimizer.param_groups[0]["lr"]
        self._learning_rate = rate.clone() if isinstance(rate, Tensor) else rate

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Mapping[str, Any], batch: Any, batch_idx: int
    ) -> None:
        reported, sums = outputs["reported"], self._open
        self._open = {name: sums[name] + value if name in sums else value for name, value in reported.items()}
        self._micro_batches += 1
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_step_end(self, trainer: L.Trainer, step: int) -> None:
        self._reported.append(self._open)
        self._grad_norms.append(trainer.lightning_module.grad_norm)
        self._scales.append(1 / self._micro_batches)
        self._open, self._micro_batches = {}, 0
        if step % self.every == 0:
            self.flush(trainer)
            self._log(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.flush(trainer)
        # A run that is stopped early may go on: it has no point there that an uninterrupted one would not have.
        if self._count and self._step == trainer.max_steps:
            self._log(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict) -> None:
        # Lightning has asked for `state_dict()` already, without these steps; nothing is on disk yet.
        self.flush(trainer)
        checkpoint["callbacks"][self.state_key] = self.state_dict()

    def flush(self, trainer: L.Trainer) -> None:
        """Bring the steps since the last copy to the host and into the statistics; called on all ranks alike.

        Raises FloatingPointError if a loss or gradient norm is not finite, now and at every later call.
        """
        if self._failure:
            raise FloatingPointError(self._failure)
        if not self._reported:
            return
        reported, grad_norms, scales = self._reported, self._grad_norms, self._scales
        self._reported, self._grad_norms, self._scales = [], [], []
        # One copy for all: the gradient norms, then of each step what it reports.
        rows = torch.stack([*grad_norms, *(value for step in reported for value in step.values())])
        if trainer.world_size > 1:  # both, so that all ranks decide on the same bits
            rows = trainer.strategy.reduce(rows, reduce_op="mean")
        values = iter(rows.tolist())
        norms = list(islice(values, len(reported)))
        first = self._step - len(reported) + 1
        for step, (names, scale, grad_norm) in enumerate(zip(reported, scales, norms, strict=True), first):
            self._take(step, {name: scale * next(values) for name in names}, grad_norm)

    def _take(self, step: int, reported: dict[str, float], grad_norm: float) -> None:
        loss = reported["loss"]
        for name, value in (("loss", loss), ("gradient norm", grad_norm)):
            if not math.isfinite(value) and not (self._scaler and name == "gradient norm"):
                self._failure = (
                    f"{name} is {value} at step {step} (learning rate {float(self._learning_rate):.3g}): "
                    "try a lower optimizer.lr or trainer.gradient_clip_val, or a longer schedule.warmup"
                )
                raise FloatingPointError(self._failure)
        self.steps += 1
        self._average = self.ema * self._average + (1 - self.ema) * loss
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in reported.items()}
        self._count += 1
        self._loss, self._grad_norm = loss, grad_norm
        self.loss_spikes.update(loss)
        self.grad_norm_spikes.update(grad_norm)

    def _log(self, trainer: L.Trainer) -> None:
        metrics = self.metrics
        self._means, self._sums, self._count = self._mean(), {}, 0
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=self._step)

    @property
    def metrics(self) -> dict[str, float]:
        """The newest value of every curve; empty before the first step."""
        if not self.steps:
            return {}
        metrics = {
            **{f"train/{name}": value for name, value in self._mean().items()},
            average_name(self.ema): self._average / (1 - self.ema**self.steps),
            "train/grad_norm": self._grad_norm,
            "train/lr": float(self._learning_rate),
            "train/spikes": self.loss_spikes.count,
            "train/spike_score": self.loss_spikes.score,
            "train/grad_norm_spikes": self.grad_norm_spikes.count,
            "train/grad_norm_spike_score": self.grad_norm_spikes.score,
        }
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def _mean(self) -> dict[str, float]:
        """What is reported since the last point, or, right after one, what that had."""
        return {name: value / self._count for name, value in self._sums.items()} if self._count else self._means

    @property
    def loss(self) -> float:
        """Loss of the newest step on the host; before the first copy, of this rank's newest step."""
        if not self.steps and self._reported:
            return self._reported[-1]["loss"].item() * self._scales[-1]
        return self._loss

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "average": self._average,
            "sums": self._sums,
            "count": self._count,
            "loss": self._loss,
            "means": self._means,
            "grad_norm": self._grad_norm,
            "learning_rate": float(self._learning_rate),
            "loss_spikes": self.loss_spikes.state_dict(),
            "grad_norm_spikes": self.grad_norm_spikes.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.loss_spikes.load_state_dict(state.pop("loss_spikes"))
        self.grad_norm_spikes.load_state_dict(state.pop("grad_norm_spikes"))
        self.steps = state.pop("steps")
        for name, value in state.items():
            setattr(self, f"_{name}", value)
