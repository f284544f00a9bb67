"""ResiDual (Xie et al., 2023): a Post-Norm stream, and beside it the plain sum of all outputs."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcexp.residual.norm_scale import stream_scale
from hcexp.residual.operator import Coefficients
from hcexp.residual.stream import Connection, NormFactory, ResidualStream


class Dual(NamedTuple):
    """x, the Post-Norm stream that the sublayers read, and r, the sum; both (batch, seq, d)."""

    x: Tensor
    r: Tensor


class ResiDualConnection(Connection):
    """`f = T(x)`, `r ← r + f`, `x ← norm(x + f)`."""

    def __init__(self, d: int, norm: NormFactory):
        super().__init__()
        self.norm = norm(d)

    def forward(self, state: Dual, sublayer: Callable[..., Tensor], *context: Any) -> Dual:
        output = sublayer(state.x, *context)
        return Dual(self.norm(state.x + output), state.r + output)

    def coefficients(self, state: Dual, output: Tensor) -> Coefficients:
        """n = 2, A_m = (1, 0), B = (1/σ, 1) and A_r = diag(1/σ, 1) with σ of x + f; exact as for Post-Norm."""
        scale = stream_scale(self.norm, state.x + output)
        B = torch.cat((scale, torch.ones_like(scale)), dim=-1)
        return Coefficients(B, B.new_tensor([1, 0]), torch.diag_embed(B))


class ResiDual(ResidualStream):
    """Both streams start as the embedding; the network ends in `x + norm(r)`."""

    def __init__(self, d: int, kinds: Sequence[str], norm: NormFactory):
        super().__init__(d, kinds, norm)
        self.norm = nn.Identity()
        self.sum_norm = norm(d)
        self.connections = nn.ModuleList(ResiDualConnection(d, norm) for _ in kinds)

    def expand(self, h: Tensor) -> Dual:
        # A copy, for one tensor in two places would make the first block a case of its own to the compiler.
        return Dual(h, h.clone())

    def reduce(self, state: Dual) -> Tensor:
        return state.x + self.sum_norm(state.r)

    def streams(self, state: Dual) -> Tensor:
        return torch.stack(state, dim=-2)

    def expand_weights(self) -> Tensor:
        return torch.ones(1, 2)

    def reduce_weights(self, state: Dual) -> Tensor:
        scale = stream_scale(self.sum_norm, state.r)
        return torch.stack((torch.ones_like(scale), scale), dim=-2)
