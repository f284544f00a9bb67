"""Sequences of a token stream as the samples of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hcexp.data.text.tokens.shards import TokenStore


@dataclass(frozen=True)
class TokenSamples:
    """The whole sequences of a stream, each token but the first predicted at most once."""

    store: TokenStore
    sequence_length: int

    def __len__(self) -> int:
        return max(self.store.tokens - 1, 0) // self.sequence_length

    def batch(self, rows: Sequence[int], keys: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inputs and targets, one token ahead: int64, each (batch, seq). Nothing is random, so `keys` count nothing."""
        length = self.sequence_length
        spans = np.stack([self.store.read(row * length, (row + 1) * length + 1) for row in rows])
        return torch.from_numpy(spans[:, :-1].copy()), torch.from_numpy(spans[:, 1:].copy())
