"""What a model is measured on, part by part."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from hcexp.evaluation.meter import Meter

# Goes through the batches of a part, as a progress bar does; `iter` shows nothing.
Watch = Callable[[Iterable], Iterable]


class Benchmark(ABC):
    """Named parts, each with batches and a meter that counts them: validation sets, tasks, sets of images.

    Training and whoever measures a checkpoint take the same way: every batch of a part's loader goes to its meter,
    and `metrics` names what the meters found.

    Attributes:
        name: begins the names of its metrics.
        parts: names of what is scored one after the other: sets or tasks.
        every: optimiser steps between two evaluations while a Trainer trains; None for one at the end. The Trainer
            asks the first of a run's benchmarks and evaluates all of them.
        headline: full name of the one metric that stands for all, the lower the better; None where there is none.
    """

    name: str
    parts: Sequence[str]
    every: int | None = None
    headline: str | None = None

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Of the parts, of their content and of how much of it is read, in hex."""

    @abstractmethod
    def fingerprint_of(self, part: str) -> str:
        """Of the content of one part and of how much of it is read, in hex."""

    @abstractmethod
    def prepare(self, data: Any, cache: Any) -> None:
        """Get everything ready that loaders and meters need; call it before them.

        Args:
            data: the run's data module. A benchmark of language asks it for `tokenizer`, `sequence_length`, `verify`.
            cache: folder of what is downloaded or tokenised.

        Raises ValueError for a part that cannot be read, or does not fit the data module.
        """

    @abstractmethod
    def loader(self, part: str, rank: int = 0, world_size: int = 1) -> Iterable:
        """The batches of process `rank`'s share of a part; as many in every process."""

    @abstractmethod
    def meter(self, part: str) -> Meter:
        """A new meter of a part."""

    @abstractmethod
    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Every metric by its full name, means among them, from the results of each part's meter."""

    def loaders(self, rank: int = 0, world_size: int = 1) -> list[Iterable]:
        """One loader a part, in the order of `parts`."""
        return [self.loader(part, rank, world_size) for part in self.parts]

    def samples(self) -> Iterator[Any]:
        """All samples of all parts, as batches of one on the CPU."""
        for loader in self.loaders():
            for batch in loader:
                for row in range(len(tree_leaves(batch)[0])):
                    yield tree_map(lambda tensor, row=row: tensor[row : row + 1], batch)

    def meters(self) -> nn.ModuleList:
        """A new meter a part, in the order of `parts`; a module, so that it moves to the model's device."""
        return nn.ModuleList(self.meter(part) for part in self.parts)

    def score(self, model: nn.Module, part: str, *, watch: Watch = iter) -> dict[str, float]:
        """The results of one part for a model, in one process and on its device; the model's modules keep their modes.

        `watch` goes through the loader's batches.
        """
        meter = self.meter(part)
        with _scoring(model) as device:
            meter.to(device)
            for batch in watch(self.loader(part)):
                meter.update(model, move_data_to_device(batch, device))
        return meter.results()


@contextmanager
def _scoring(model: nn.Module) -> Iterator[torch.device]:
    """Without gradients, in evaluation mode, and afterwards in the modes of before; gives the model's device."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield next(model.parameters(), torch.empty(0)).device
    finally:
        for module in training:
            module.training = True
