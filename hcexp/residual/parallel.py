"""Parallel transformer block (PTB; Wang, 2021): `x + Attn(norm x) + FFN(norm x)`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcexp.residual.operator import Coefficients
from hcexp.residual.stream import NormFactory, PreNormed, ResidualStream, require_blocks


class Pair(NamedTuple):
    """Two streams of shape (batch, seq, d), whose sum is a block's input x.

    Within a block the first is x and the attention's output, the second is x, and then the feed-forward's output.
    """

    first: Tensor
    second: Tensor


class AttentionConnection(PreNormed):
    """Reads the sum of both streams, x, and keeps it in the second for the feed-forward."""

    def forward(self, state: Pair, sublayer: Callable[..., Tensor], *context: Any) -> Pair:
        x = state.first + state.second
        return Pair(x + sublayer(self.norm(x), *context), x)

    def coefficients(self, state: Pair, output: Tensor) -> Coefficients:
        """Eq. 18."""
        return Coefficients(output.new_tensor([1, 0]), output.new_ones(2), output.new_ones(2, 2))


class FeedForwardConnection(PreNormed):
    """Reads the second stream and replaces it by the output."""

    def forward(self, state: Pair, sublayer: Callable[..., Tensor], *context: Any) -> Pair:
        # One precision for all blocks, though autocast makes the output narrower than the stream.
        return Pair(state.first, sublayer(self.norm(state.second), *context).to(state.first.dtype))

    def coefficients(self, state: Pair, output: Tensor) -> Coefficients:
        """Eq. 19 with 0 in place of its α₂₂ = 1, which would add x a second time."""
        second = output.new_tensor([0, 1])
        return Coefficients(second, second, output.new_tensor([[1, 0], [0, 0]]))


class Parallel(ResidualStream):
    """Two streams, which start as the embedding and zero and are summed at the end.

    Raises ValueError unless the sublayers are blocks of an attention and a feed-forward.
    """

    def __init__(self, d: int, kinds: Sequence[str], norm: NormFactory):
        super().__init__(d, kinds, norm)
        connections = {"attention": AttentionConnection, "feed_forward": FeedForwardConnection}
        self.connections = nn.ModuleList(connections[kind](d, norm) for kind in require_blocks(kinds))

    def expand(self, h: Tensor) -> Pair:
        return Pair(h, torch.zeros_like(h))

    def reduce(self, state: Pair) -> Tensor:
        return self.norm(state.first + state.second)

    def streams(self, state: Pair) -> Tensor:
        return torch.stack(state, dim=-2)

    def expand_weights(self) -> Tensor:
        return torch.tensor([[1.0, 0.0]])

    def reduce_weights(self, state: Pair) -> Tensor:
        return torch.ones(2, 1)
