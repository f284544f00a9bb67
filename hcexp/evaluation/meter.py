"""A count of what a model answers, over any number of batches and processes."""

from abc import ABC, abstractmethod
from typing import Any

from torch import nn
from torchmetrics import Metric


class Meter(Metric, ABC):
    """Asks the model about batches of one part of a benchmark; its states are summed over the processes.

    Attributes:
        varying_shapes: whether batches differ in shape: a compiled block would be compiled anew for each, and at last
            given up, so that it has to run eagerly.
    """

    full_state_update = False
    varying_shapes = False

    @abstractmethod
    def update(self, model: nn.Module, batch: Any) -> None:
        """Count a batch, which is on the model's device."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """What was measured, by the last word of each metric's name; the same in every process."""

    def results(self) -> dict[str, float]:
        """What was measured in all processes together."""
        return self.compute()
