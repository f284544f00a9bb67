"""The precision of a training step, as Lightning sets it around the objective's `training_step`, loss included."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(mixed: bool, device: str = "cpu") -> AbstractContextManager:
    """Of this kind of device to bfloat16 if `mixed`, else nothing.

    Without autocast's cache, which Lightning does not use: a weight's copy lives as long as the backward pass asks for
    it, and a block that is made again leaves none.
    """
    return torch.autocast(device, torch.bfloat16, cache_enabled=False) if mixed else nullcontext()
