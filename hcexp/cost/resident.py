"""What a device holds of a model whatever the batch: weights, gradients, optimizer states, and what training makes of
these.
"""

from dataclasses import dataclass

import torch

MOMENTS = 2  # of AdamW


@dataclass(frozen=True)
class Resident:
    """Bytes on each of several devices. `gathered` is what a strategy adds: buckets, or shards put together."""

    weights: float
    gradients: float
    moments: float
    gathered: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.moments + self.gathered


def single(model: torch.nn.Module, dtype: torch.dtype) -> Resident:
    """On one device: a gradient and two moments for each weight that trains, all in the weights' precision."""
    trained = _bytes(model, dtype, trained=True)
    return Resident(_bytes(model, dtype), trained, MOMENTS * trained)


def replicated(model: torch.nn.Module, dtype: torch.dtype) -> Resident:
    """On each of several under DDP, which keeps the gradients a second time, in the buckets that are reduced
    (`gradient_as_bucket_view=False`, torch's default).
    """
    one = single(model, dtype)
    return Resident(one.weights, one.gradients, one.moments, one.gradients)


def sharded(model: torch.nn.Module, dtype: torch.dtype, devices: int) -> Resident:
    """On each of several under FSDP2, a block a unit: of everything a share, and put together the weights of two
    blocks (at work, and on their way), the gradients of one, and both of what lies outside the blocks.
    """
    one, block = single(model, dtype), model.blocks[0]
    outside = one.weights + one.gradients
    outside -= sum(_bytes(b, dtype) + _bytes(b, dtype, trained=True) for b in model.blocks)
    gathered = 2 * _bytes(block, dtype) + _bytes(block, dtype, trained=True) + outside
    return Resident(*(part / devices for part in (one.weights, one.gradients, one.moments)), gathered)


def _bytes(module: torch.nn.Module, dtype: torch.dtype, trained: bool = False) -> int:
    return dtype.itemsize * sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)
