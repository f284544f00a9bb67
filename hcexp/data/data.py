"""What a run trains on, whatever the task: samples, cut into batches."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from hcexp.data.batches import Batch, MicroBatches, Samples, StepLoader

# Of an optimiser step: far above the largest batches of published training, 2²⁰ pictures and 2²⁷ tokens.
MOST_SAMPLES, MOST_TOKENS = 1 << 24, 1 << 30


def require_batch_size(batch_size: int, sequence_length: int = 0) -> None:
    """Raise ValueError for a batch that no machine holds; `sequence_length` is 0 where samples are no sequences."""
    tokens = batch_size * sequence_length
    if batch_size > MOST_SAMPLES or tokens > MOST_TOKENS:
        size = f" with data.sequence_length={sequence_length} is {tokens:,} tokens a step" if tokens else ""
        raise ValueError(
            f"data.batch_size={batch_size}{size}: allowed are at most {MOST_SAMPLES:,} samples and "
            f"{MOST_TOKENS:,} tokens a step"
        )


class Data(ABC):
    """Samples in batches that are the same for every model that is trained with the same seed.

    Attributes:
        batch_size: samples an optimiser step, over all processes and micro-batches.
        seed: of the order of the samples.
        workers: processes that read the batches; 0 does it in this process.
        verify: whether what lies in a cache is compared with its checksums.
        cache: folder for orders of very many samples; None keeps them in memory.
        tokens_per_step: tokens of an optimiser step over all processes; 0 where samples are no sequences of tokens.
    """

    batch_size: int
    seed: int
    workers: int = 0
    verify: bool = False
    cache: Path | None = None
    tokens_per_step: int = 0

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Names the samples by their content, in hex; nothing is made ready for it."""

    @property
    @abstractmethod
    def samples(self) -> Samples:
        """The samples, made ready unless that was done."""

    @abstractmethod
    def example(self, rows: int) -> Batch:
        """A made-up batch of so many samples on the CPU, for what only depends on shapes; nothing is read for it."""

    def prepare(self) -> None:
        """Make the samples ready; raises what `samples` raises."""
        _ = self.samples

    def batches(self, accumulate: int = 1, rank: int = 0, world_size: int = 1) -> MicroBatches:
        """The micro-batches of one process; without arguments the global batch of every step."""
        require_batch_size(self.batch_size)
        return MicroBatches(self.samples, self.batch_size, self.seed, accumulate, rank, world_size, cache=self.cache)

    def train_loader(self, trainer: Any) -> StepLoader:
        """The batches of this process, from the Lightning trainer's step to its `max_steps`; ValueError without it."""
        if trainer.max_steps < 0:
            raise ValueError(f"trainer.max_steps={trainer.max_steps}: allowed is 0 or more optimiser steps")
        batches = self.batches(trainer.accumulate_grad_batches, trainer.global_rank, trainer.world_size)
        return StepLoader(batches, lambda: trainer.global_step, trainer.max_steps, self.workers)
