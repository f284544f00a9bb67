"""A token stream cut into windows so that every token but the first is predicted exactly once."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hcexp.data import TokenStore
from hcexp.objective.next_token import IGNORED


class Windows:
    """A loader of one process's batches: `(inputs, targets)`, int64, each of shape (batch, sequence_length).

    Window i predicts tokens [i·S + 1, (i + 1)·S] of the stream. Padding has the target -100: the end of the
    last window, and whole windows, so that every process has equally many batches of equal shapes (sharded
    models wait for each other in every forward pass). It is no `DataLoader`, since under several processes
    Lightning would put a sampler into one that doubles windows.

    Args:
        store: the stream.
        sequence_length: S, tokens a window.
        batch_size: windows a batch.
        rank, world_size: this process and how many there are; window i belongs to process i mod world_size.

    Raises ValueError for an argument out of range, or a stream that predicts no token.
    """

    def __init__(self, store: TokenStore, sequence_length: int, batch_size: int, rank: int = 0, world_size: int = 1):
        for name, value in (("sequence_length", sequence_length), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name}={value}: allowed is at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank}: allowed are 0 to {world_size - 1}")
        if store.tokens < 2:
            raise ValueError(f"{store.folder} has {store.tokens} tokens: allowed is at least 2")
        self.store, self.sequence_length, self.batch_size = store, sequence_length, batch_size
        windows = math.ceil((store.tokens - 1) / sequence_length)
        # Padding included: as many in every process.
        self._mine = range(rank, math.ceil(windows / world_size) * world_size, world_size)

    def __len__(self) -> int:
        return math.ceil(len(self._mine) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(self._mine), self.batch_size):
            yield self._batch(self._mine[first : first + self.batch_size])

    def _batch(self, windows: range) -> tuple[Tensor, Tensor]:
        shape = (len(windows), self.sequence_length)
        inputs = torch.full(shape, self.store.eos_id)
        targets = torch.full(shape, IGNORED)
        for row, window in enumerate(windows):
            start = min(window * self.sequence_length, self.store.tokens - 1)
            tokens = torch.from_numpy(self.store.read(start, min(start + self.sequence_length + 1, self.store.tokens)))
            inputs[row, : len(tokens) - 1] = tokens[:-1]
            targets[row, : len(tokens) - 1] = tokens[1:]
        return inputs, targets
