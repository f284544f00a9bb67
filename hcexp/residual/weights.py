"""Where the coefficients of a hyper-connection come from: learned constants, or constants and the streams themselves.

Both hold `A = [A_m | A_r]`, (n, n+1), and `B`, (n,), at initial values that make every stream a pre-norm network's
hidden state: A_m reads stream `index mod n`, A_r is the identity, B is one (Hyper-Connections, Eq. 14).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hcexp.residual.projection import normed_projection
from hcexp.residual.stream import NormFactory

INITIAL_SCALE = 0.01


class StaticWeights(nn.Module):
    """SHC: the coefficients are parameters, the same for every token.

    `train_wc=False` freezes A (the width connections), `train_b=False` freezes B, at their initial values.
    """

    def __init__(self, n: int, index: int, *, train_wc: bool = True, train_b: bool = True):
        super().__init__()
        self.n = n
        self.index = index
        self.A = nn.Parameter(torch.empty(n, n + 1), requires_grad=train_wc)
        self.B = nn.Parameter(torch.empty(n), requires_grad=train_b)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.A.zero_()
        self.A[self.index % self.n, 0] = 1
        self.A[:, 1:].fill_diagonal_(1)
        self.B.fill_(1)

    def forward(self, H: Tensor) -> tuple[Tensor, Tensor]:
        """`(beta, alpha)` of shapes (n,) and (n, n+1); the streams do not matter."""
        return self.B, self.A

    fast = forward

    def undecayed(self) -> Iterable[nn.Parameter]:
        return self.A, self.B


class DynamicWeights(StaticWeights):
    """DHC: each stream adds to its own row of the constants what it predicts from itself (Eqs. 10-13).

        N     = norm(H)
        beta  = s_beta  · tanh(N W_beta)  + B
        alpha = s_alpha · tanh(N W_alpha) + A

    `tanh=False` leaves the tanh out and keeps the scales. `norm` has weights only with `norm_affine`. Decay falls
    on W_alpha and W_beta; on the two scales, which the paper does not mention, with `decay_scales`.
    """

    def __init__(
        self,
        n: int,
        index: int,
        d: int,
        norm: NormFactory,
        *,
        tanh: bool = True,
        train_wc: bool = True,
        train_b: bool = True,
        norm_affine: bool = False,
        decay_scales: bool = False,
    ):
        super().__init__(n, index, train_wc=train_wc, train_b=train_b)
        self.norm = norm(d, elementwise_affine=norm_affine)
        self.activation = torch.tanh if tanh else nn.Identity()
        self.decay_scales = decay_scales
        self.W_alpha = nn.Parameter(torch.empty(d, n + 1), requires_grad=train_wc)
        self.W_beta = nn.Parameter(torch.empty(d), requires_grad=train_b)
        self.s_alpha = nn.Parameter(torch.empty(1), requires_grad=train_wc)
        self.s_beta = nn.Parameter(torch.empty(1), requires_grad=train_b)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.W_alpha.zero_()
        self.W_beta.zero_()
        self.s_alpha.fill_(INITIAL_SCALE)
        self.s_beta.fill_(INITIAL_SCALE)

    def forward(self, H: Tensor) -> tuple[Tensor, Tensor]:
        """`(beta, alpha)` of shapes (…, n) and (…, n, n+1) for streams H of shape (…, n, d), as the paper writes it."""
        N = self.norm(H)
        beta = self.s_beta * self.activation(N @ self.W_beta) + self.B
        alpha = self.s_alpha * self.activation(N @ self.W_alpha) + self.A
        return beta, alpha

    def fast(self, H: Tensor) -> tuple[Tensor, Tensor]:
        """The same, through one skinny projection of the raw streams: no normed copy of H is made."""
        W = torch.cat((self.W_beta.unsqueeze(-1), self.W_alpha), dim=-1)
        dynamic = self.activation(normed_projection(H, W, self.norm))
        B, s_beta, A, s_alpha = (p.to(dynamic.dtype) for p in (self.B, self.s_beta, self.A, self.s_alpha))
        return torch.addcmul(B, s_beta, dynamic[..., 0]), torch.addcmul(A, s_alpha, dynamic[..., 1:])

    def undecayed(self) -> Iterable[nn.Parameter]:
        scales = () if self.decay_scales else (self.s_alpha, self.s_beta)
        return *super().undecayed(), *scales
