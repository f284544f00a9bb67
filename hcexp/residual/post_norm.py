"""Post-Norm, the original transformer (Vaswani et al., 2017): `norm(h + T(h))`."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from hcexp.residual.norm_scale import stream_scale
from hcexp.residual.operator import Coefficients
from hcexp.residual.stream import Connection, NormFactory, SingleStream


class PostNormConnection(Connection):
    """`norm(h + T(h))` on a state h of shape (batch, seq, d)."""

    def __init__(self, d: int, norm: NormFactory):
        super().__init__()
        self.norm = norm(d)

    def forward(self, h: Tensor, sublayer: Callable[..., Tensor], *context: Any) -> Tensor:
        return self.norm(h + sublayer(h, *context))

    def coefficients(self, h: Tensor, output: Tensor) -> Coefficients:
        """n = 1, A_m = 1 and B = A_r = 1/√(σ_i² + σ_o² + 2σ_io + ε) (Hyper-Connections, Eq. 16).

        Exact for RMSNorm, with moments about zero; for LayerNorm if embedding and outputs have zero mean.
        """
        scale = stream_scale(self.norm, h + output)
        return Coefficients(scale, h.new_ones(1), scale.unsqueeze(-1))


class PostNorm(SingleStream):
    """One stream, normed after every sublayer; the last of these norms is the final one."""

    def __init__(self, d: int, kinds: Sequence[str], norm: NormFactory):
        super().__init__(d, kinds, norm)
        self.norm = nn.Identity()
        self.connections = nn.ModuleList(PostNormConnection(d, norm) for _ in kinds)
