"""The width connection `mix = alphaᵀ H`, in the form that is fast where it runs.

H has shape (batch, seq, n, d), alpha (…, n, n+1), with token axes or without. Both forms give the sublayer's input
x, (batch, seq, d), and the streams that pass it by, H', (batch, seq, n, d).
"""

import torch
from torch import Tensor

from hcexp.residual.operator import mix


def width_connection(H: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """`(x, H')`; the compiler gets what it can fuse, the interpreter what is one library call."""
    return stream_by_stream(H, alpha) if torch.compiler.is_compiling() else in_one_product(H, alpha)


def in_one_product(H: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """A small matrix product a token."""
    mixed = mix(H, alpha)
    return mixed[..., 0, :], mixed[..., 1:, :]


def stream_by_stream(H: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the streams: element-wise work, which fuses into one pass over H with what comes before and after."""
    n = H.shape[-2]
    x = sum(alpha[..., i, :1] * H[..., i, :] for i in range(n))
    remaining = sum(alpha[..., i, 1:, None] * H[..., i, None, :] for i in range(n))
    return x, remaining
