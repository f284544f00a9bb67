"""Batches of any samples: a pure function of (seed, step), so that nothing need be replayed.

The global batch of a step is cut over processes and micro-batches; `StepLoader` gives a process its share.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import DataLoader, Dataset

from hcexp.disk.atomic import atomic_write

Batch = Any  # what the task's model and objective take: for language (inputs, targets), int64, each (batch, seq)

# An order of more samples is read from a file: 16 MB and half a second of drawing, a process, for so many.
MOST_IN_MEMORY = 1 << 22


class Samples(Protocol):
    """What a batch is made of."""

    def __len__(self) -> int: ...

    def batch(self, rows: Sequence[int], keys: Sequence[int]) -> Batch:
        """The samples of these indices, in their order; what is random in one is drawn from its key, below 2⁶⁴."""


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


def batch_indices(seed: int, step: int, batch_size: int, samples: int, cache: Path | None = None) -> np.ndarray:
    """The samples of the global batch of optimiser step `step` (from 0): int64, shape (batch_size,).

    The order runs through every sample once an epoch, in a permutation keyed by (seed, epoch); a batch may span the
    border of two. Orders of very many samples lie in the folder `cache`, unless it is None.

    Raises ValueError for an argument out of range, OSError if the cache cannot be read or written.
    """
    limits = {"seed": (seed, 0), "step": (step, 0), "batch_size": (batch_size, 1), "samples": (samples, 1)}
    for name, (value, least) in limits.items():
        if value < least:
            raise ValueError(f"{name}={value}: allowed is at least {least}")
    position, end = step * batch_size, (step + 1) * batch_size
    parts = []
    while position < end:
        epoch, place = divmod(position, samples)
        count = min(end - position, samples - place)
        if cache is None or samples <= MOST_IN_MEMORY:
            parts.append(epoch_order(seed, epoch, samples)[place : place + count])
        else:
            parts.append(_read_order(_order_file(cache, seed, epoch, samples), place, count, samples))
        position += count
    return np.concatenate(parts).astype(np.int64)


def row_keys(seed: int, step: int, batch_size: int) -> np.ndarray:
    """A number for each row of a global batch, of (seed, step, place in the batch): uint64, shape (batch_size,)."""
    return np.random.PCG64(np.random.SeedSequence([seed, step], spawn_key=(0,))).random_raw(batch_size)


@lru_cache(maxsize=2)  # a batch on the border of two epochs needs both
def epoch_order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """Every number below `samples` once, shape (samples,), read-only: uint32 where it holds them, else uint64."""
    order = _draw_order(seed, epoch, samples)
    order.flags.writeable = False
    return order


def _draw_order(seed: int, epoch: int, samples: int) -> np.ndarray:
    order = np.arange(samples, dtype=_dtype(samples))
    np.random.default_rng([seed, epoch]).shuffle(order)
    return order


def _dtype(samples: int) -> np.dtype:
    return np.dtype("<u4" if samples <= 1 << 32 else "<u8")


@lru_cache(maxsize=2)
def _order_file(cache: Path, seed: int, epoch: int, samples: int) -> Path:
    """The order of an epoch as a flat file, drawn unless some process has done it; others wait for it meanwhile."""
    path = cache / f"order-{samples}-{seed}-{epoch}.bin"
    if not _is_whole(path, samples):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not _is_whole(path, samples):
                with atomic_write(path, "wb") as file:
                    _draw_order(seed, epoch, samples).tofile(file)
    return path


def _is_whole(path: Path, samples: int) -> bool:
    return path.is_file() and path.stat().st_size == samples * _dtype(samples).itemsize


def _read_order(path: Path, place: int, count: int, samples: int) -> np.ndarray:
    # Read by a plain call: of the pages there is one copy a machine, and a file that was cut kills nobody.
    dtype = _dtype(samples)
    part = np.fromfile(path, dtype, count, offset=place * dtype.itemsize)
    if len(part) != count or part.max() >= samples:
        raise OSError(errno.EIO, f"{path} is damaged: delete it, and the same command goes on")
    return part


@dataclass(frozen=True)
class MicroBatches(Dataset):
    """Micro-batch `i` of one process: rows of the global batch of step `i // accumulate`.

    The global batch is cut into equal runs, first over the processes, then over the micro-batches of a step.
    """

    samples: Samples
    batch_size: int
    seed: int
    accumulate: int = 1
    rank: int = 0
    world_size: int = 1
    _: KW_ONLY
    cache: Path | None = None

    def __post_init__(self):
        require_even(self.batch_size, self.world_size, self.accumulate)

    def __getitem__(self, i: int) -> Batch:
        step, micro = divmod(i, self.accumulate)
        size = self.batch_size // (self.world_size * self.accumulate)
        first = (self.rank * self.accumulate + micro) * size
        rows = batch_indices(self.seed, step, self.batch_size, len(self.samples), self.cache)
        keys = row_keys(self.seed, step, self.batch_size)
        return self.samples.batch(rows[first : first + size].tolist(), keys[first : first + size].tolist())


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
        return self._in_one_line(iter(batches))  # no generator itself: the step is that of this moment

    @staticmethod
    def _in_one_line(batches: Iterator[Batch]) -> Iterator[Batch]:
        try:
            yield from batches
        except OSError as error:  # of a worker process: torch puts its traceback before what it says
            raise OSError(str(error).strip().rpartition("\n")[2].removeprefix("OSError: ")) from error

    def state_dict(self) -> dict:
        """Empty: the trainer's step says where to go on. It is here to tell Lightning that one can."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Nothing to do."""
