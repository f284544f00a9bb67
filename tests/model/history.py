"""A residual mode with what the shipped ones have not: a state that grows, random initial weights, and dropout.

A history counts as one stream for each output so far: A_r is (n, n + 1).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hcexp.residual import Coefficients, ResidualStream
from hcexp.residual.stream import PreNormed


class History(NamedTuple):
    """The embedding and all outputs since, each (batch, seq, d)."""

    outputs: tuple[Tensor, ...]


class DenseConnection(PreNormed):
    """Reads a learned sum of the whole history, as DenseFormer does."""

    def __init__(self, depth, d, norm, dropout):
        super().__init__(d, norm)
        self.weights = nn.Parameter(torch.empty(depth))
        self.dropout = nn.Dropout(dropout)

    def forward(self, state, sublayer, *context):
        x = sum(w * h for w, h in zip(self.weights, state.outputs, strict=True))
        return History((*state.outputs, self.dropout(sublayer(self.norm(x), *context))))

    def coefficients(self, state, output) -> Coefficients:
        n = len(self.weights)
        appended = torch.eye(n, n + 1).to(self.weights)
        return Coefficients(torch.eye(n + 1).to(self.weights)[n], self.weights, appended)

    @torch.no_grad()
    def reset_parameters(self):
        nn.init.normal_(self.weights, mean=1.0, std=0.3)


class Dense(ResidualStream):
    compiled_as = "network"

    def __init__(self, d, kinds, norm, *, dropout=0.0):
        super().__init__(d, kinds, norm)
        self.connections = nn.ModuleList(DenseConnection(k + 1, d, norm, dropout) for k in range(len(kinds)))
        self.register_buffer("scale", torch.empty(2))

    def expand(self, h):
        return History((h,))

    def reduce(self, state):
        return self.norm(self.scale[1] * sum(state.outputs))

    def streams(self, state):
        return torch.stack(state.outputs, dim=-2)

    def expand_weights(self):
        return torch.ones(1, 1)

    def reduce_weights(self, state):
        return self.scale[1].expand(len(state.outputs), 1)

    @torch.no_grad()
    def reset_parameters(self):
        super().reset_parameters()
        self.scale.copy_(torch.tensor([3.0, 0.5]))
