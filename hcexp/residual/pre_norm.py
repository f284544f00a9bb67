"""Pre-Norm, the plain transformer: `h + T(norm h)`."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from hcexp.residual.operator import Coefficients
from hcexp.residual.stream import NormFactory, PreNormed, SingleStream


class PreNormConnection(PreNormed):
    """`h + T(norm h)` on a state h of shape (batch, seq, d)."""

    def forward(self, h: Tensor, sublayer: Callable[..., Tensor], *context: Any) -> Tensor:
        return h + sublayer(self.norm(h), *context)

    def coefficients(self, h: Tensor, output: Tensor) -> Coefficients:
        """n = 1 and B = A_m = A_r = 1 (Eq. 15)."""
        return Coefficients(h.new_ones(1), h.new_ones(1), h.new_ones(1, 1))


class PreNorm(SingleStream):
    """The baseline of every comparison: one stream, no parameters of its own."""

    def __init__(self, d: int, kinds: Sequence[str], norm: NormFactory):
        super().__init__(d, kinds, norm)
        self.connections = nn.ModuleList(PreNormConnection(d, norm) for _ in kinds)

    @property
    def plain(self) -> bool:
        return type(self) is PreNorm  # what derives from it is another mode
