"""The operator that nearly every residual mode is a case of: `X' = M X + Wᵀ F(R X)`.

It is written here once, plainly. A mode's own faster code is tested against it, forward and backward.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Coefficients(NamedTuple):
    """The matrix `HC = [[0, B], [A_m, A_r]]` of one sublayer (Hyper-Connections, Eq. 1): n streams before it, m after.

    B:   (…, m)     weight of the sublayer's output in each stream.
    A_m: (…, n)     weight of each stream in the sublayer's input; (…, n, d) where each channel has its own.
    A_r: (…, n, m)  row i, column j: weight of stream i in stream j after the sublayer.

    `…` are the axes (batch, seq) of tokens, or none. In most modes m is n; a history of outputs grows.
    """

    B: Tensor
    A_m: Tensor
    A_r: Tensor


def read(H: Tensor, A_m: Tensor) -> Tensor:
    """The sublayer's input `A_mᵀ H`, (batch, seq, d), from the streams H of shape (batch, seq, n, d)."""
    return torch.einsum("...nd,...nd->...d" if reads_channels(A_m) else "...n,...nd->...d", A_m, H)


def reads_channels(A_m: Tensor) -> bool:
    """Whether A_m weighs each channel by itself: it then has two axes, or four with those of the tokens."""
    return A_m.dim() % 2 == 0


def mix(H: Tensor, A_r: Tensor) -> Tensor:
    """The streams that pass the sublayer by, `H' = A_rᵀ H`, (batch, seq, m, d)."""
    return torch.einsum("...ij,...id->...jd", A_r, H)


def write(B: Tensor, output: Tensor) -> Tensor:
    """The sublayer's output, (batch, seq, d), weighted into each stream: `Bᵀ T`, (batch, seq, m, d)."""
    return torch.einsum("...n,...d->...nd", B, output)


def hyper_connect(H: Tensor, sublayer: Callable[[Tensor], Tensor], coefficients: Coefficients) -> Tensor:
    """`Ĥ = Bᵀ T(A_mᵀ H) + A_rᵀ H` (Eq. 2) on streams of shape (batch, seq, n, d); `sublayer` contains its norm."""
    B, A_m, A_r = coefficients
    return write(B, sublayer(read(H, A_m))) + mix(H, A_r)
