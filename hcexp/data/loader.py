"""The training loader: micro-batches from the trainer's current optimiser step to its last."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hcexp.data.order import batch_indices
from hcexp.data.text.tokens.shards import TokenStore

Batch = tuple[Tensor, Tensor]  # inputs and targets, int64, each (batch, seq)


def require_even(batch_size: int, world_size: int, accumulate: int) -> None:
    """Raise ValueError if a batch cannot be cut into equal micro-batches, `accumulate` of each process."""
    if accumulate < 1:
        raise ValueError(f"trainer.accumulate_grad_batches={accumulate}: allowed is at least 1")
    if batch_size % (parts := world_size * accumulate):
        raise ValueError(
            f"data.batch_size={batch_size} cannot be cut evenly over {world_size} processes "
            f"(trainer.devices × trainer.num_nodes) of {accumulate} micro-batches "
            f"(trainer.accumulate_grad_batches): allowed are multiples of {parts}"
        )


@dataclass(frozen=True)
class MicroBatches(Dataset):
    """Micro-batch `i` of one process: rows of the global batch of step `i // accumulate`.

    The global batch is cut into equal runs, first over the processes, then over the micro-batches of a step.
    """

    store: TokenStore
    sequence_length: int
    batch_size: int
    seed: int
    accumulate: int = 1
    rank: int = 0
    world_size: int = 1

    def __post_init__(self):
        require_even(self.batch_size, self.world_size, self.accumulate)

    @property
    def sequences(self) -> int:
        """Whole sequences of the stream, each token but the first predicted at most once."""
        return (self.store.tokens - 1) // self.sequence_length

    def __getitem__(self, i: int) -> Batch:
        step, micro = divmod(i, self.accumulate)
        size = self.batch_size // (self.world_size * self.accumulate)
        first = (self.rank * self.accumulate + micro) * size
        rows = batch_indices(self.seed, step, self.batch_size, self.sequences)[first : first + size]
        length = self.sequence_length
        spans = np.stack([self.store.read(row * length, (row + 1) * length + 1) for row in rows.tolist()])
        return torch.from_numpy(spans[:, :-1].copy()), torch.from_numpy(spans[:, 1:].copy())


class StepLoader:
    """Iterates from the optimiser step at which `current_step` stands then to the last one.

    Its length is that of the whole run, since Lightning goes on counting where an interrupted run stopped. It
    is no `DataLoader` itself, since under several processes Lightning would put its own sampler into one.
    """

    def __init__(self, batches: MicroBatches, current_step: Callable[[], int], steps: int, workers: int = 0):
        self._batches, self._current_step, self._steps, self._workers = batches, current_step, steps, workers

    def __len__(self) -> int:
        return self._steps * self._batches.accumulate

    def __iter__(self) -> Iterator[Batch]:
        first = self._current_step() * self._batches.accumulate
        batches = DataLoader(
            self._batches,
            batch_size=None,
            sampler=range(first, len(self)),
            num_workers=self._workers,
            pin_memory=torch.cuda.is_available(),
        )
        return _in_one_line(iter(batches))

    def state_dict(self) -> dict:
        """Empty: the trainer's step says where to go on. It is here to tell Lightning that one can."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Nothing to do."""


def _in_one_line(batches: Iterator[Batch]) -> Iterator[Batch]:
    try:
        yield from batches
    except OSError as error:  # of a worker process: torch puts its traceback before what it says
        raise OSError(str(error).strip().rpartition("\n")[2].removeprefix("OSError: ")) from error


def rewind_to_step(trainer: Trainer) -> None:
    """Resume from an interrupted optimiser step as from the end of the step before it.

    A checkpoint written on an exception or a signal may fall between two micro-batches. It has lost the
    gradients accumulated until then, but counts the micro-batches: the next step would come too early, and
    metrics would be logged a step late. So the counts are set to those of a checkpoint at a step's end.
    """
    loop, step = trainer.fit_loop.epoch_loop, trainer.global_step
    progress, micro_batches = loop.batch_progress, step * trainer.accumulate_grad_batches
    if progress.total.ready == progress.total.processed == micro_batches:
        return
    for counts in (progress.total, progress.current):
        counts.ready = counts.started = counts.processed = micro_batches
        # A checkpoint is written before these two count the batch; the second numbers the logged metrics.
        counts.completed = micro_batches - 1
    loop._batches_that_stepped = step - 1
