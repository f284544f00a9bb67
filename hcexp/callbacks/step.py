"""A callback that watches whole optimiser steps, and what a run asks of its callbacks."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L


class StepCallback(L.Callback):
    """Calls `on_step_end` after each optimiser step, however many micro-batches it has.

    A subclass that has an `on_train_start` or `on_train_batch_end` of its own calls this one's. When training is over,
    the run takes from here:

    Attributes:
        metrics: what it ends with, by name.
        pruned: whether this callback has ended it before its last step.
    """

    metrics: Mapping[str, float] = {}
    pruned = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step  # the newest step that is whole

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self.on_step_end(trainer, self._step)

    def on_step_end(self, trainer: L.Trainer, step: int) -> None:
        """After the optimiser step with this number, from 1; of what happens at its end, only a validation is later."""
