"""What a person sees of a training run."""

import math
import sys
import time
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from hcexp.callbacks.curves import Curves
from hcexp.callbacks.step import StepCallback
from hcexp.callbacks.throughput import Throughput, per_step
from hcexp.tables.format import clock, short

BAR_REFRESH_SECONDS = 0.2


class Progress(StepCallback, TQDMProgressBar):
    """In a terminal a bar over all optimiser steps; elsewhere, as in a log file, plain lines.

    A line reads `step 120/300  loss 4.213  12.3k tokens/s  0:00:31 left`. Loss and tokens (or samples) per second are
    those that `Curves` and `Throughput` have last brought to the host, so showing them waits for nothing; the time left
    goes by the wall clock, validation and checkpoints included. Give the Trainer no `enable_progress_bar=False`:
    Lightning refuses a bar beside it.

    Args:
        seconds: least time between two lines; the end of training always gets one.
        terminal: True for the bar, False for lines; None asks the standard output.
    """

    def __init__(self, seconds: float = 10.0, terminal: bool | None = None) -> None:
        if not seconds >= 0:
            raise ValueError(f"callbacks.progress.seconds must not be negative, got {seconds}")
        super().__init__()
        self.seconds = seconds
        self.terminal = sys.stdout.isatty() if terminal is None else terminal
        self._curves: Curves | None = None
        self._throughput: Throughput | None = None

    @property
    def is_enabled(self) -> bool:  # of the bars, Lightning's own for validation among them
        return self.terminal and super().is_enabled

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._curves = next((c for c in trainer.callbacks if isinstance(c, Curves)), None)
        self._throughput = next((c for c in trainer.callbacks if isinstance(c, Throughput)), None)
        self._unit, self._per_step = per_step(pl_module)
        self._total = trainer.max_steps if trainer.max_steps > 0 else trainer.estimated_stepping_batches
        StepCallback.on_train_start(self, trainer, pl_module)
        self._started: tuple[int, float] | None = None  # (step, time) at the end of the first step, which compiles
        self._next = -math.inf if self.terminal else time.monotonic() + self.seconds
        self.train_progress_bar = self.init_train_tqdm()

    def init_train_tqdm(self) -> Tqdm:
        return Tqdm(
            total=self._total if math.isfinite(self._total) else None,
            initial=self._step,
            desc="step",
            disable=self.is_disabled,
            leave=True,
            dynamic_ncols=True,
            file=sys.stdout,
            bar_format="{desc} {n_fmt}/{total_fmt} |{bar}|{postfix}",
        )

    def on_train_epoch_start(self, *_: Any) -> None:
        pass  # one bar for the whole run

    def on_train_epoch_end(self, *_: Any) -> None:
        pass

    def on_validation_end(self, *_: Any) -> None:
        self.val_progress_bar.close()
        self.reset_dataloader_idx_tracker()

    def on_step_end(self, trainer: L.Trainer, step: int) -> None:
        now = time.monotonic()
        if self._started is None:
            self._started = (step, now)
        if now >= self._next and step < self._total:
            self._next = now + (BAR_REFRESH_SECONDS if self.terminal else self.seconds)
            self._show(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._show(trainer)
        self.train_progress_bar.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._train_progress_bar is not None:  # so that the error begins on its own line
            self.train_progress_bar.close()

    def _show(self, trainer: L.Trainer) -> None:
        if not trainer.is_global_zero:
            return
        step, begun = self._started or (self._step, 0.0)
        steps = self._step - step  # done in this process after its first one
        seconds = time.monotonic() - begun if steps else 0.0
        rate = self._throughput.rate if self._throughput else None
        rate = rate or (self._per_step * steps / seconds if seconds else math.nan)
        left = (self._total - self._step) * seconds / steps if steps else math.nan
        left = 0.0 if self._step >= self._total else left
        loss = self._curves.loss if self._curves else math.nan
        status = f"loss {loss:.3f}  {short(rate)} {self._unit}/s  {clock(left)} left"
        if self.terminal:
            self.train_progress_bar.n = self._step
            self.train_progress_bar.set_postfix_str(status)
        else:
            total = self._total if math.isfinite(self._total) else "?"
            print(f"step {self._step}/{total}  {status}", flush=True)
