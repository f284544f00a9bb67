"""A transformer block: attention and feed-forward, each carried by its connection.

It is the unit of compilation (all blocks of a model run the same code, so one is compiled for all), of activation
checkpointing and of sharding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hcexp.model.attention import Attention
from hcexp.model.feed_forward import FeedForward
from hcexp.residual import Connection
from hcexp.residual.stream import State


class Block(nn.Module):
    """Two sublayers; their connections belong to the residual stream and are handed in.

    With `activation_checkpointing` it keeps for the backward pass only the state that comes in, and makes what lies
    within it a second time there.
    """

    KINDS = ("attention", "feed_forward")

    def __init__(self, attention: Attention, feed_forward: FeedForward, *, activation_checkpointing: bool = False):
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.activation_checkpointing = activation_checkpointing

    def forward(self, state: State, connections: Sequence[Connection], rotary: tuple[Tensor, Tensor]) -> State:
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(self._carried, state, connections, rotary, use_reentrant=False)
        return self._carried(state, connections, rotary)

    def _carried(self, state: State, connections: Sequence[Connection], rotary: tuple[Tensor, Tensor]) -> State:
        around_attention, around_feed_forward = connections
        state = around_attention(state, self.attention, rotary)
        return around_feed_forward(state, self.feed_forward)
