"""The interface between a network and its residual mode.

    state = stream.expand(h)
    for connection, sublayer in zip(stream.connections, sublayers):
        state = connection(state, sublayer, *context)
    h = stream.reduce(state)

The network never looks into `state`. All norms belong to the stream: a connection norms its sublayer's input or
output, `reduce` contains the final norm, and sublayers have none of their own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hcexp.residual.operator import Coefficients

MOST_STREAMS = 1024  # of a mode that widens the stream; published ones have at most 16

State = Any  # a tensor, or a NamedTuple of tensors, so that compile, checkpointing and sharding see inside


class NormFactory(Protocol):
    """Makes the model's norm for vectors of width d; `elementwise_affine` overrides whether it has weights."""

    def __call__(self, d: int, *, elementwise_affine: bool = ...) -> nn.Module: ...


class Connection(nn.Module, ABC):
    """Carries one sublayer: `Ĥ = HC(T, H)` (Hyper-Connections, Eq. 2)."""

    @abstractmethod
    def forward(self, state: State, sublayer: Callable[..., Tensor], *context: Any) -> State:
        """Run `sublayer(x, *context)`, a map of (batch, seq, d) to the same, within the state."""

    def normed(self, x: Tensor) -> Tensor:
        """What the sublayer is given for the vector x, (batch, seq, d), that A_m reads; x, if the norm comes after."""
        return x

    @abstractmethod
    def coefficients(self, state: State, output: Tensor) -> Coefficients:
        """The mode as a case of the operator: `(B, A_m, A_r)` for this state and this output of the sublayer.

        `output` has shape (batch, seq, d); modes that norm after the sublayer depend on it, and raise ValueError if
        that norm has weights, which no coefficient of a whole stream can express.
        """

    def reset_parameters(self) -> None:
        """Set the mode's own parameters and buffers to their initial values, in place and on the CPU.

        They hold nothing before. What is drawn from torch's default generator depends on the run's seed alone.
        """

    def undecayed(self) -> Iterable[nn.Parameter]:
        """The parameters that take no weight decay, norms aside."""
        return ()


class PreNormed(Connection):
    """A connection that norms its sublayer's input."""

    def __init__(self, d: int, norm: NormFactory):
        super().__init__()
        self.norm = norm(d)

    def normed(self, x: Tensor) -> Tensor:
        return self.norm(x)


class ResidualStream(nn.Module, ABC):
    """A residual mode for one network: its connections, how it starts and how it ends.

    A subclass sets `connections` in its constructor and defines the rest.

    Args:
        d: width of the hidden vectors.
        kinds: what each sublayer is, in order: "attention" or "feed_forward".
        norm: makes the model's norm.
    """

    connections: nn.ModuleList
    plain: bool = False  # the mode is `h + T(norm h)`, which every pre-norm transformer's code runs
    output_init_factor: float = 1.0  # multiplies the standard deviation of every sublayer's output projection
    compiled_as: str = "block"  # or "network": a state that grows would have every block compiled anew
    expansion_rate: int | None = None  # n of the modes that widen the plain stream n times

    def __init__(self, d: int, kinds: Sequence[str], norm: NormFactory):
        super().__init__()
        self.d = d
        self.kinds = tuple(kinds)
        self.norm = norm(d)  # of the hidden vector in the end; a mode that has normed it already has an identity here

    @property
    def embedding_dim(self) -> int:
        """Width that the mode asks of the embedding."""
        return self.d

    @property
    def output_dim(self) -> int:
        """Width of what `reduce` gives."""
        return self.d

    @abstractmethod
    def expand(self, h: Tensor) -> State:
        """The state that the embedding, (batch, seq, embedding_dim), starts."""

    @abstractmethod
    def reduce(self, state: State) -> Tensor:
        """The normed hidden vector, (batch, seq, output_dim), that the state ends in."""

    @abstractmethod
    def streams(self, state: State) -> Tensor:
        """The state as the operator has it, (batch, seq, n, d)."""

    @abstractmethod
    def expand_weights(self) -> Tensor:
        """Weight of the embedding in each stream: B of layer 0 in the unfolding (Eq. 27).

        Shape (embedding_dim / d, n): a row for each slice of width d of the embedding.
        """

    @abstractmethod
    def reduce_weights(self, state: State) -> Tensor:
        """Weight of each stream in the hidden vector before `self.norm`: A_m of layer L+1 in the unfolding.

        Shape (…, n, output_dim / d): a column for each slice of width d of the hidden vector.
        """

    def reset_parameters(self) -> None:
        """Set every connection's own parameters to their initial values."""
        for connection in self.connections:
            connection.reset_parameters()

    def undecayed(self) -> Iterable[nn.Parameter]:
        """The mode's parameters that take no weight decay, norms aside."""
        return chain.from_iterable(connection.undecayed() for connection in self.connections)


class SingleStream(ResidualStream):
    """A mode whose state is the plain hidden vector, (batch, seq, d)."""

    def expand(self, h: Tensor) -> Tensor:
        return h

    def reduce(self, h: Tensor) -> Tensor:
        return self.norm(h)

    def streams(self, h: Tensor) -> Tensor:
        return h.unsqueeze(-2)

    def expand_weights(self) -> Tensor:
        return torch.ones(1, 1)

    def reduce_weights(self, h: Tensor) -> Tensor:
        return torch.ones(1, 1)


def require_blocks(kinds: Sequence[str]) -> Sequence[str]:
    """`kinds`, if they are blocks of an attention and a feed-forward; ValueError for any other order."""
    if len(kinds) % 2 or tuple(kinds) != ("attention", "feed_forward") * (len(kinds) // 2):
        raise ValueError(
            f"this residual mode joins the two sublayers of a block: attention, feed_forward, attention, …; "
            f"the model's are {', '.join(kinds)}"
        )
    return kinds


def require_rate(n: int) -> int:
    """n, if it can be an expansion rate; ValueError otherwise."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_STREAMS:
        raise ValueError(f"residual.n={n} is the expansion rate: it must be a whole number from 1 to {MOST_STREAMS}")
    return n
