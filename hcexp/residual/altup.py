"""AltUp (Baykal et al., 2023): n streams, of which a layer reads one and corrects all.

    x̂_i = Σ_j P_ij x_j              what the streams predict
    x̃   = L(x_j*)                   the layer, on the active stream j*
    x_i ← x̂_i + g_i (x̃ - x̂_j*)     what the layer corrects

L contains its own residual connections: a sublayer in it is `x + T(norm x)`. The initial values P = I and g = 1 are
pre-norm in every stream.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from hcexp.residual.mixing import mixed
from hcexp.residual.operator import Coefficients
from hcexp.residual.stream import NormFactory, PreNormed, ResidualStream, require_blocks, require_rate

ACTIVE = ("alternating", "fixed")
EMBEDDING = ("recycled", "widened")
PER = ("block", "sublayer")


class Layered(NamedTuple):
    """The streams, (batch, seq, n, d), and within a layer what it has made so far of the active one, (batch, seq, d).

    The operator has the latter as one stream more, which is zero between layers.
    """

    H: Tensor
    layer: Tensor | None = None


class Correction(nn.Module):
    """The end of a layer, with its P, (n, n), and g, (n,)."""

    def __init__(self, n: int, active: int):
        super().__init__()
        self.active = active
        self.P = nn.Parameter(torch.empty(n, n))
        self.g = nn.Parameter(torch.empty(n))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        nn.init.eye_(self.P)
        nn.init.ones_(self.g)

    def forward(self, H: Tensor, layer: Tensor) -> Tensor:
        """The streams H, (batch, seq, n, d), predicted and then corrected by x̃, (batch, seq, d)."""
        # Autocast would round the streams at every mixing, where pre-norm's stream stays as it is.
        wide = torch.promote_types(H.dtype, torch.float32)
        with torch.autocast(H.device.type, enabled=False):
            predicted = mixed(H.to(wide), self.P.to(wide).mT)
        innovation = layer.to(wide) - predicted[..., self.active, :]
        return torch.addcmul(predicted, self.g.to(wide).unsqueeze(-1), innovation.unsqueeze(-2)).to(H.dtype)

    def kept(self) -> Tensor:
        """`(P - g P_j*)ᵀ`, (n, n): weight of each stream (row) in each (column), before g x̃ is added."""
        return (self.P - torch.outer(self.g, self.P[self.active])).mT


class AltUpConnection(PreNormed):
    """A sublayer of a layer whose active stream is `active`; with the last one of a layer comes its correction."""

    def __init__(self, n: int, active: int, d: int, norm: NormFactory, *, last: bool):
        super().__init__(d, norm)
        self.n, self.active = n, active
        self.correction = Correction(n, active) if last else None

    def forward(self, state: Layered, sublayer: Callable[..., Tensor], *context: Any) -> Layered:
        H, layer = state
        x = H[..., self.active, :] if layer is None else layer
        layer = x + sublayer(self.norm(x), *context)
        return Layered(H, layer) if self.correction is None else Layered(self.correction(H, layer))

    def coefficients(self, state: Layered, output: Tensor) -> Coefficients:
        """With the layer's own stream as the last of n + 1.

        A_m reads the active stream, or the layer's own within a layer. Inside a layer the result goes to its own
        stream alone: B = e_n+1. At its end `A_rᵀ = P - g P_j* + g A_mᵀ` and B = g.
        """
        kind = torch.promote_types(output.dtype, torch.float32)
        active = self.active if state.layer is None else self.n
        read, own = one_hot(torch.tensor([active, self.n], device=output.device), self.n + 1).to(kind)
        if self.correction is None:
            return Coefficients(own, read, torch.diag(1 - own) + torch.outer(read, own))
        B = pad(self.correction.g, (0, 1))
        return Coefficients(B, read, pad(self.correction.kept(), (0, 1, 0, 1)) + torch.outer(read, B))

    def reset_parameters(self) -> None:
        if self.correction is not None:
            self.correction.reset_parameters()

    def undecayed(self) -> Iterable[nn.Parameter]:
        return () if self.correction is None else self.correction.parameters()


class AltUp(ResidualStream):
    """The streams of AltUp.

    Args:
        n: streams a token, K in the paper; 1 or more.
        active: "alternating" has layer l (from 0) read stream l mod n, "fixed" always the first.
        embedding: "recycled" repeats an embedding of width d and sums the streams at the end; "widened" embeds in
            n·d and ends in n·d, a slice a stream.
        per: a layer is a "block" of attention and feed-forward, as in the paper, or each "sublayer".

    Raises ValueError for any other value, and with per="block" unless the sublayers are such blocks.
    """

    def __init__(
        self,
        d: int,
        kinds: Sequence[str],
        norm: NormFactory,
        *,
        n: int = 2,
        active: str = "alternating",
        embedding: str = "recycled",
        per: str = "block",
    ):
        choices = {"active": (active, ACTIVE), "embedding": (embedding, EMBEDDING), "per": (per, PER)}
        for knob, (value, allowed) in choices.items():
            if value not in allowed:
                raise ValueError(f"residual.{knob}={value} is not known: choose from {', '.join(allowed)}")
        super().__init__(d, kinds, norm)
        self.n = self.expansion_rate = require_rate(n)
        self.widened = embedding == "widened"
        self.norm = norm(self.output_dim)
        sublayers = 2 if per == "block" else 1
        if per == "block":
            require_blocks(kinds)
        self.connections = nn.ModuleList(
            AltUpConnection(
                n,
                k // sublayers % n if active == "alternating" else 0,
                d,
                norm,
                last=(k + 1) % sublayers == 0,
            )
            for k in range(len(kinds))
        )

    @property
    def embedding_dim(self) -> int:
        return self.n * self.d if self.widened else self.d

    @property
    def output_dim(self) -> int:
        return self.embedding_dim

    def expand(self, h: Tensor) -> Layered:
        H = h.unflatten(-1, (-1, self.d))
        return Layered(H if self.widened else H.repeat_interleave(self.n, dim=-2))

    def reduce(self, state: Layered) -> Tensor:
        return self.norm(state.H.flatten(-2) if self.widened else state.H.sum(dim=-2))

    def streams(self, state: Layered) -> Tensor:
        layer = torch.zeros_like(state.H[..., 0, :]) if state.layer is None else state.layer
        return torch.cat((state.H, layer.unsqueeze(-2)), dim=-2)

    def expand_weights(self) -> Tensor:
        return pad(torch.eye(self.n) if self.widened else torch.ones(1, self.n), (0, 1))

    def reduce_weights(self, state: Layered) -> Tensor:
        return self.expand_weights().mT
