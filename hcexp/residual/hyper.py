"""Hyper-Connections (Zhu et al., ICLR 2025): n copies of the residual stream, mixed around every sublayer.

Static (SHC) and dynamic (DHC) differ in where a connection's weights come from (`weights.py`), and in nothing else.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcexp.residual.mixing import width_connection
from hcexp.residual.operator import Coefficients
from hcexp.residual.stream import NormFactory, PreNormed, ResidualStream, require_rate
from hcexp.residual.weights import DynamicWeights, StaticWeights

REDUCTIONS = ("sum", "mean")


class HyperConnection(PreNormed):
    """Width connection `(x, H') = alphaᵀ H`, sublayer, depth connection `Ĥ_i = beta_i T(norm x) + H'_i` (Eqs. 3-5)."""

    def __init__(self, weights: StaticWeights, d: int, norm: NormFactory):
        super().__init__(d, norm)
        self.weights = weights

    def forward(self, H: Tensor, sublayer: Callable[..., Tensor], *context: Any) -> Tensor:
        """Streams H of shape (batch, seq, n, d) to the same shape and precision."""
        # In bfloat16 a coefficient near 1 has steps of 0.004 to 0.008, as large as what the dynamic part adds; and
        # autocast would round the streams at every mixing, where pre-norm's stream stays as it is.
        wide = torch.promote_types(H.dtype, torch.float32)
        with torch.autocast(H.device.type, enabled=False):
            beta, alpha = (w.to(wide) for w in self.weights.fast(H))
            x, remaining = width_connection(H.to(wide), alpha)
        output = sublayer(self.norm(x.to(H.dtype)), *context)
        return torch.addcmul(remaining, beta.unsqueeze(-1), output.to(wide).unsqueeze(-2)).to(H.dtype)

    def coefficients(self, H: Tensor, output: Tensor) -> Coefficients:
        beta, alpha = self.weights(H)
        return Coefficients(beta, alpha[..., 0], alpha[..., 1:])

    def reset_parameters(self) -> None:
        self.weights.reset_parameters()

    def undecayed(self) -> Iterable[nn.Parameter]:
        return self.weights.undecayed()


class HyperConnections(ResidualStream):
    """What static and dynamic hyper-connections share: replicate the embedding n times, sum the streams at the end.

    `weights(k)` makes the weights of the connection around sublayer k, counted from 0. The streams end in their sum
    (the paper's) or, with `reduce="mean"`, in their mean: the final norm makes them one but for its ε.

    Raises ValueError unless n ≥ 1 and `reduce` is "sum" or "mean".
    """

    def __init__(
        self,
        d: int,
        kinds: Sequence[str],
        norm: NormFactory,
        *,
        n: int,
        output_init_exponent: float,
        weights: Callable[[int], StaticWeights],
        reduce: str = "sum",
    ):
        if reduce not in REDUCTIONS:
            raise ValueError(f"residual.reduce={reduce} is how the streams end: choose sum or mean")
        super().__init__(d, kinds, norm)
        self.n = self.expansion_rate = require_rate(n)
        self.reduction = reduce
        # The streams' sum has the standard deviation of pre-norm's stream if each output has 1/√n of it.
        self.output_init_factor = n**-output_init_exponent
        self.connections = nn.ModuleList(HyperConnection(weights(k), d, norm) for k in range(len(self.kinds)))

    def expand(self, h: Tensor) -> Tensor:
        """(batch, seq, d) to (batch, seq, n, d)."""
        # A copy, for a stride of 0 would make the first block a case of its own to the compiler.
        return h.unsqueeze(-2).repeat_interleave(self.n, dim=-2)

    def reduce(self, H: Tensor) -> Tensor:
        """(batch, seq, n, d) to (batch, seq, d)."""
        return self.norm(H.sum(dim=-2) if self.reduction == "sum" else H.mean(dim=-2))

    def streams(self, H: Tensor) -> Tensor:
        return H

    def expand_weights(self) -> Tensor:
        return torch.ones(1, self.n)

    def reduce_weights(self, H: Tensor) -> Tensor:
        return torch.full((self.n, 1), 1.0 if self.reduction == "sum" else 1 / self.n)


class StaticHyperConnections(HyperConnections):
    """SHC: one learned matrix a sublayer, the same for every token.

    Args:
        n: expansion rate, 1 or more.
        train_wc: train the width connections A; otherwise they keep their initial value.
        train_b: train B, likewise.
        output_init_exponent: e in `std / n^e`, the initial standard deviation of the sublayers' output projections.
        reduce: "sum" or "mean" of the streams, before the final norm.
    """

    def __init__(
        self,
        d: int,
        kinds: Sequence[str],
        norm: NormFactory,
        *,
        n: int = 4,
        train_wc: bool = True,
        train_b: bool = True,
        output_init_exponent: float = 0.5,
        reduce: str = "sum",
    ):
        def weights(k: int) -> StaticWeights:
            return StaticWeights(n, k, train_wc=train_wc, train_b=train_b)

        super().__init__(d, kinds, norm, n=n, output_init_exponent=output_init_exponent, weights=weights, reduce=reduce)


class DynamicHyperConnections(HyperConnections):
    """DHC: the matrix of a sublayer depends on the token.

    Args (beside those of SHC):
        tanh: bound what a stream adds to the constants; the paper's "W/O tanh" is False.
        norm_affine: give the norm on H weights; the paper's has none (Table 7 counts none).
        decay_scales: decay s_alpha and s_beta too.
    """

    def __init__(
        self,
        d: int,
        kinds: Sequence[str],
        norm: NormFactory,
        *,
        n: int = 4,
        tanh: bool = True,
        train_wc: bool = True,
        train_b: bool = True,
        output_init_exponent: float = 0.5,
        reduce: str = "sum",
        norm_affine: bool = False,
        decay_scales: bool = False,
    ):
        def weights(k: int) -> DynamicWeights:
            return DynamicWeights(
                n,
                k,
                d,
                norm,
                tanh=tanh,
                train_wc=train_wc,
                train_b=train_b,
                norm_affine=norm_affine,
                decay_scales=decay_scales,
            )

        super().__init__(d, kinds, norm, n=n, output_init_exponent=output_init_exponent, weights=weights, reduce=reduce)
