"""A task cut into batches of texts of nearly equal length, so that hardly any padding is computed."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hcexp.evaluation.downstream.task import Request, Task

PADDING = 1 / 16  # at most this share of a batch


class TaskBatch(NamedTuple):
    """A batch, and which of its predictions are scored; the last four are int64 of shape (scored tokens,).

    Attributes:
        inputs: (rows, tokens), int64, padded on the right, which no causal model sees.
        rows, positions: where in `inputs` each scored token is predicted.
        targets: the scored tokens.
        cells: the continuation that each belongs to: its number in the flattened (documents, continuations).
    """

    inputs: Tensor
    rows: Tensor
    positions: Tensor
    targets: Tensor
    cells: Tensor


class Buckets:
    """A loader of one process's batches of a task, the longest texts first.

    Every continuation is in one batch of one process. Batches are the same however many processes share them; one
    that has fewer than the others gets a batch of a single padded row at the end, since sharded models wait for
    each other in every forward pass. Continuations of one token share the row of their common context.

    Args:
        tokens: of a batch, padding included; a text longer than that is a batch of its own.
        rank, world_size: this process and how many there are; batch i belongs to process i mod world_size.

    Raises ValueError for an argument out of range.
    """

    def __init__(self, task: Task, tokens: int, pad_id: int, rank: int = 0, world_size: int = 1):
        if tokens < 1:
            raise ValueError(f"tokens={tokens}: allowed is at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank}: allowed are 0 to {world_size - 1}")
        self.pad_id, self.rank, self.world_size = pad_id, rank, world_size
        self._continuations = task.tokens.shape[1]
        self.batches = _cut(task.requests, tokens)

    def __len__(self) -> int:
        return math.ceil(len(self.batches) / self.world_size)

    def __iter__(self) -> Iterator[TaskBatch]:
        for first in range(0, len(self.batches), self.world_size):
            mine = first + self.rank
            yield self._batch(self.batches[mine] if mine < len(self.batches) else [])

    def _batch(self, texts: list[list[Request]]) -> TaskBatch:
        inputs = np.full((max(1, len(texts)), len(texts[0][0].tokens) if texts else 1), self.pad_id)
        scored = []
        for row, requests in enumerate(texts):
            length = len(requests[0].tokens)
            inputs[row, :length] = requests[0].tokens
            for request in requests:
                cell = request.document * self._continuations + request.continuation
                start = length - len(request.scored)
                scored += [(row, start + i, token, cell) for i, token in enumerate(request.scored)]
        columns = np.array(scored, np.int64).reshape(-1, 4).T.copy()
        return TaskBatch(*map(torch.from_numpy, (inputs, *columns)))


def _cut(requests: Sequence[Request], tokens: int) -> list[list[list[Request]]]:
    """Batches of texts, from the longest to the shortest; a text as the requests that read it."""
    texts: dict[bytes, list[Request]] = {}
    for request in requests:
        texts.setdefault(request.tokens.tobytes(), []).append(request)
    batches: list[list[list[Request]]] = []
    longest = used = 0
    for text in sorted(texts.values(), key=lambda text: len(text[0].tokens), reverse=True):
        length = len(text[0].tokens)
        size = (len(batches[-1]) + 1) * longest if batches else math.inf
        if size > tokens or size - used - length > PADDING * size:
            batches.append([])
            longest, used = length, 0
        batches[-1].append(text)
        used += length
    return batches
