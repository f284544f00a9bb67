"""A transformer block: attention and feed-forward, each carried by its connection.

It is the unit of compilation (all blocks of a model run the same code, so one is compiled for all), of activation
checkpointing and of sharding.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hcexp.model.init import Initial
from hcexp.residual import Connection
from hcexp.residual.stream import State


class Block(nn.Module):
    """Two sublayers, each given all of the network's context.

    Their connections belong to the residual stream and are handed in.

    With `activation_checkpointing` it keeps for the backward pass only the state that comes in, and makes what lies
    within it a second time there.
    """

    KINDS = ("attention", "feed_forward")

    def __init__(self, attention: nn.Module, feed_forward: nn.Module, *, activation_checkpointing: bool = False):
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.activation_checkpointing = activation_checkpointing

    def initial(self) -> Iterator[Initial]:
        """How the weights of its sublayers are drawn."""
        yield from self.attention.initial()
        yield from self.feed_forward.initial()

    def forward(self, state: State, connections: Sequence[Connection], *context: Any) -> State:
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(self._carried, state, connections, *context, use_reentrant=False)
        return self._carried(state, connections, *context)

    def _carried(self, state: State, connections: Sequence[Connection], *context: Any) -> State:
        around_attention, around_feed_forward = connections
        state = around_attention(state, self.attention, *context)
        return around_feed_forward(state, self.feed_forward, *context)
