"""Parameters, exactly."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from torch import nn

from hcexp.residual import ResidualStream


class Parameters(NamedTuple):
    """Counts of single numbers.

    total: all of them, tied embeddings once.
    residual: those of the residual mode, beside what any network has: one norm a sublayer and the final one. A mode
        that widens the embedding changes the network; that shows in the total alone.
    frozen: those that training leaves at their initial values.
    """

    total: int
    residual: int
    frozen: int


def count_parameters(model: nn.Module) -> Parameters:
    """Count a model's parameters; it may lie on the meta device.

    Table 7's dense rows follow to the last integer.
    """
    networks = {id(p) for norm in _networks_norms(model.stream) for p in norm.parameters()}
    return Parameters(
        total=sum(p.numel() for p in model.parameters()),
        residual=sum(p.numel() for p in model.stream.parameters() if id(p) not in networks),
        frozen=sum(p.numel() for p in model.parameters() if not p.requires_grad),
    )


def _networks_norms(stream: ResidualStream) -> Iterator[nn.Module]:
    """The final norm, and the first norm of each connection; those that a mode has deeper inside are its own."""
    for owner in (stream, *stream.connections):
        yield from islice((m for m in owner.children() if isinstance(m, nn.LayerNorm | nn.RMSNorm)), 1)
