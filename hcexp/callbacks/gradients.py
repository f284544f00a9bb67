"""The gradient norm of every layer, while a run trains."""

from collections.abc import Iterable, Mapping

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from hcexp.callbacks.step import StepCallback

Groups = dict[str, list[nn.Parameter]]


def gradient_groups(model: nn.Module) -> Groups:
    """The parameters of a network by layer, in the order of depth; those that take no gradient are left out.

    `block_01` … are the blocks, `connections_01` … the residual connections around each; other parameters go by the
    name of the network's part that they are in: `embedding`, `stream`, `unembedding`.
    """
    blocks, connections = len(model.blocks), len(model.stream.connections)
    digits = len(str(blocks))
    groups: Groups = {}
    for name, parameter in model.named_parameters():
        part, *rest = name.split(".")
        if part == "blocks":
            part = f"block_{int(rest[0]) + 1:0{digits}}"
        elif rest and rest[0] == "connections":
            part = f"connections_{int(rest[1]) * blocks // connections + 1:0{digits}}"
        if parameter.requires_grad:
            groups.setdefault(part, []).append(parameter)
    depth = {"embedding": 0, "block": 1, "connections": 2}
    return {name: groups[name] for name in sorted(groups, key=lambda n: (depth.get(n.partition("_")[0], 3), n))}


@torch.no_grad()
def gradient_norms(groups: Mapping[str, Iterable[nn.Parameter]]) -> dict[str, Tensor]:
    """The norm of each group's gradients as one vector, a scalar on the device; groups without gradients are left out.

    Nothing waits for the device. Of sharded parameters it is the norm over all shards, for which every process calls
    this alike.
    """
    norms = {}
    for name, parameters in groups.items():
        if gradients := [p.grad for p in parameters if p.grad is not None]:
            norm = get_total_norm(gradients)
            norms[name] = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return norms


class GradientNorms(StepCallback):
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
        super().on_train_start(trainer, pl_module)
        self._groups, self._norms = gradient_groups(pl_module.model), {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.every and (trainer.global_step + 1) % self.every == 0:
            self._norms = gradient_norms(self._groups)

    def on_step_end(self, trainer: L.Trainer, step: int) -> None:
        if not self._norms:
            return
        values = torch.stack(list(self._norms.values())).tolist()
        metrics = {f"train/grad_norm/{name}": value for name, value in zip(self._norms, values, strict=True)}
        self._norms = {}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)
