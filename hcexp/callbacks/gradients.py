"""The gradient norm of every layer, while a run trains."""

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from hcexp.analysis.gradients import Groups, gradient_groups, gradient_norms


class GradientNorms(L.Callback):
    """Logs `train/grad_norm/<layer>`: the norm of the gradients of each block and of the connections around it.

    Layers are named as `gradient_groups` names them: `embedding`, `block_1`, `connections_1`, … Norms are those of the
    whole optimiser step, its micro-batches summed up, before clipping. They are taken on the device, and brought to the
    host in one copy when the step is done.

    Args:
        every: optimiser steps between two points of a curve; None for none.
    """

    def __init__(self, every: int | None = 100) -> None:
        if every is not None and every < 1:
            raise ValueError(f"callbacks.gradients.every must be at least 1 optimiser step, or null, got {every}")
        self.every = every
        self._groups: Groups = {}
        self._norms: dict[str, Tensor] = {}  # of the step that is being made

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._groups, self._norms = gradient_groups(pl_module.model), {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.every and (trainer.global_step + 1) % self.every == 0:
            self._norms = gradient_norms(self._groups)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._norms:
            return
        values = torch.stack(list(self._norms.values())).tolist()
        metrics = {f"train/grad_norm/{name}": value for name, value in zip(self._norms, values, strict=True)}
        self._norms = {}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
