"""A bounded sample of what is measured token by token."""

import torch
from torch import Tensor

LIMIT = 8192  # tokens


class Sample:
    """Of the rows that it is given every one, or, when there are more than `limit`, every second, fourth, eighth …

    So quantiles are exact up to `limit` rows, and the same whenever the rows are. The rows, (tokens, …), are kept on
    the CPU.
    """

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.stride = 1
        self._given = 0
        self._kept: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """Rows of shape (tokens, …), one shape at every call."""
        first = -self._given % self.stride
        self._kept.append(rows[first :: self.stride].cpu())
        self._given += len(rows)
        while sum(map(len, self._kept)) > self.limit:
            self._kept = [self.rows[::2].clone()]
            self.stride *= 2

    @property
    def rows(self) -> Tensor:
        """(tokens of the sample, …)."""
        return torch.cat(self._kept)
