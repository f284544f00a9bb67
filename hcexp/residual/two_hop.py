"""Two-hop residual (Ma et al., 2024): the feed-forward's output is added to the block's input.

`y = x + Attn(norm x)`, then `x' = x + FFN(norm y)`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcexp.residual.operator import Coefficients
from hcexp.residual.stream import NormFactory, PreNormed, ResidualStream, require_blocks


class Hops(NamedTuple):
    """x, the block's input, and y, what the feed-forward reads, both (batch, seq, d); no y between blocks."""

    x: Tensor
    y: Tensor | None = None


class AttentionConnection(PreNormed):
    """`y = x + Attn(norm x)`, and x waits."""

    def forward(self, state: Hops, sublayer: Callable[..., Tensor], *context: Any) -> Hops:
        return Hops(state.x, state.x + sublayer(self.norm(state.x), *context))

    def coefficients(self, state: Hops, output: Tensor) -> Coefficients:
        first, second = output.new_tensor([[1, 0], [0, 1]])
        return Coefficients(second, first, output.new_tensor([[1, 1], [0, 0]]))


class FeedForwardConnection(PreNormed):
    """`x' = x + FFN(norm y)`, and y is done with."""

    def forward(self, state: Hops, sublayer: Callable[..., Tensor], *context: Any) -> Hops:
        return Hops(state.x + sublayer(self.norm(state.y), *context))

    def coefficients(self, state: Hops, output: Tensor) -> Coefficients:
        first, second = output.new_tensor([[1, 0], [0, 1]])
        return Coefficients(first, second, output.new_tensor([[1, 0], [0, 0]]))


class TwoHop(ResidualStream):
    """Two streams, the second empty between blocks; the first is the hidden vector in the end.

    Raises ValueError unless the sublayers are blocks of an attention and a feed-forward.
    """

    def __init__(self, d: int, kinds: Sequence[str], norm: NormFactory):
        super().__init__(d, kinds, norm)
        connections = {"attention": AttentionConnection, "feed_forward": FeedForwardConnection}
        self.connections = nn.ModuleList(connections[kind](d, norm) for kind in require_blocks(kinds))

    def expand(self, h: Tensor) -> Hops:
        return Hops(h)

    def reduce(self, state: Hops) -> Tensor:
        return self.norm(state.x)

    def streams(self, state: Hops) -> Tensor:
        return torch.stack((state.x, torch.zeros_like(state.x) if state.y is None else state.y), dim=-2)

    def expand_weights(self) -> Tensor:
        return torch.tensor([[1.0, 0.0]])

    def reduce_weights(self, state: Hops) -> Tensor:
        return torch.tensor([[1.0], [0.0]])
