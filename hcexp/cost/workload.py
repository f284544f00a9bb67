"""What a training step is counted and timed on: an objective, and batches made up for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, NamedTuple, NoReturn

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hcexp.configuration import instantiate
from hcexp.objective import Objective


class Workload(NamedTuple):
    """The losses of a batch.

    Attributes:
        objective: the run's.
        example: makes a batch of so many samples on the CPU; only its shapes matter.
    """

    objective: Objective
    example: Callable[[int], Any]

    def loss(self, model: nn.Module, samples: int) -> Tensor:
        """What is minimised on a batch of so many samples: a scalar."""
        return self.objective(model, self.example(samples)).minimised

    def positions(self, model: nn.Module) -> int:
        """The hidden vectors that a sample has in the residual stream, such as the tokens of a sequence."""

        def reached(h: Tensor) -> NoReturn:
            raise _Reached(h.shape[-2])

        model = deepcopy(model)
        model.stream.expand = reached
        with FakeTensorMode(allow_non_fake_inputs=True):
            model.to_empty(device="cpu")
            try:
                self.loss(model, 1)
            except _Reached as found:
                return found.args[0]
        raise ValueError(f"{type(model).__name__} has no residual stream on its way to a loss")


class _Reached(Exception):
    """The embedding is done; what comes after need not be run."""


def workload(config: DictConfig) -> Workload:
    """The workload of a configuration; no data are read."""
    return Workload(instantiate(config.objective), instantiate(config.data).example)


def autocast(mixed: bool, device: str = "cpu") -> AbstractContextManager:
    """Of this kind of device to bfloat16 if `mixed`, else nothing; as Lightning sets it around a training step.

    Without autocast's cache, which Lightning does not use: a weight's copy lives as long as the backward pass asks for
    it, and a block that is made again leaves none.
    """
    return torch.autocast(device, torch.bfloat16, cache_enabled=False) if mixed else nullcontext()
