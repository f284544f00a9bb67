"""A transformer block: attention and feed-forward, each carried by its connection.

It is the unit of compilation: all blocks of a model run the same code, so one is compiled for all.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from hcexp.model.attention import Attention
from hcexp.model.feed_forward import FeedForward
from hcexp.residual import Connection
from hcexp.residual.stream import State


class Block(nn.Module):
    """Two sublayers; their connections belong to the residual stream and are handed in."""

    KINDS = ("attention", "feed_forward")

    def __init__(self, attention: Attention, feed_forward: FeedForward):
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, state: State, connections: Sequence[Connection], rotary: tuple[Tensor, Tensor]) -> State:
        around_attention, around_feed_forward = connections
        state = around_attention(state, self.attention, rotary)
        return around_feed_forward(state, self.feed_forward)
