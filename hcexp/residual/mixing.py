"""Sums of streams, `A_rᵀ H` and the width connection `alphaᵀ H`, in the form that is fast where they run.

The interpreter gets what is one library call, a small matrix product a token; the compiler gets sums over the
streams: element-wise work, which fuses into one pass over H with what comes before and after.
"""

import torch
from torch import Tensor

from hcexp.residual.operator import mix


def mixed(H: Tensor, A_r: Tensor) -> Tensor:
    """`A_rᵀ H`, (batch, seq, m, d), for H of shape (batch, seq, n, d) and A_r of shape (…, n, m)."""
    return stream_by_stream(H, A_r) if torch.compiler.is_compiling() else mix(H, A_r)


def width_connection(H: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The sublayer's input x, (batch, seq, d), and the streams that pass it by, H', (batch, seq, n, d).

    H has shape (batch, seq, n, d), alpha (…, n, n+1), with token axes or without.
    """
    if torch.compiler.is_compiling():
        return stream_by_stream(H, alpha[..., :1]).squeeze(-2), stream_by_stream(H, alpha[..., 1:])
    x, remaining = mix(H, alpha).split((1, H.shape[-2]), dim=-2)
    return x.squeeze(-2), remaining


def stream_by_stream(H: Tensor, A_r: Tensor) -> Tensor:
    """`A_rᵀ H` as a sum of n products."""
    return sum(A_r[..., i, :, None] * H[..., i, None, :] for i in range(H.shape[-2]))
