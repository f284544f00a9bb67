"""The unfolding: every sublayer's input as a weighted sum of all outputs before it (the paper's Eqs. 20, 27, 29)."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hcexp.residual.operator import Coefficients


class Unfolded(NamedTuple):
    """Connection matrices of L sublayers with n streams, with token axes or without.

    Columns are the outputs T_j: the embedding's slices of width d (one, in most modes), then the sublayers 1 … L.

    C_0: (…, L + 1, 1 + L)  row k: their weights in the input of sublayer k; the last row, in the hidden vector before
                            the final norm (a row for each of its slices of width d).
    C:   (…, n, L, 1 + L)   C^(i): their weights in stream i where it passes sublayer k by.
    """

    C_0: Tensor
    C: Tensor


def unfold(expand_weights: Tensor, coefficients: Sequence[Coefficients], reduce_weights: Tensor) -> Unfolded:
    """`c_kj = B_j (∏_{t=j+1}^{k-1} A_r^t) A_m^k`, from what the stream and its connections state.

    The product is not made anew for every pair: each output's weights in the n streams, (…, n), go through every
    A_r once, in float32 or wider. They are exact for the modes whose streams are sums of outputs, all of today's;
    where LayerNorm norms a stream, an output counts less its mean.
    """
    dtype = reduce(torch.promote_types, (weights.dtype for c in coefficients for weights in c), torch.float32)
    coefficients = [Coefficients(*(weights.to(dtype) for weights in c)) for c in coefficients]
    like = coefficients[0].B
    tokens = torch.broadcast_shapes(reduce_weights.shape[:-2], *(c.B.shape[:-1] for c in coefficients))
    tokens = torch.broadcast_shapes(tokens, *(c.A_r.shape[:-2] for c in coefficients))
    held = expand_weights.to(like).expand(*tokens, *expand_weights.shape)  # (…, outputs so far, n)
    inputs, passing = [], []
    with torch.autocast(like.device.type, enabled=False):
        for B, A_m, A_r in coefficients:
            inputs.append(held @ A_m.expand(*tokens, -1).unsqueeze(-1))
            held = held @ A_r
            passing.append(held)
            held = torch.cat((held, B.expand(*tokens, -1).unsqueeze(-2)), dim=-2)
        inputs.append(held @ reduce_weights.to(like))
    outputs = held.shape[-2]
    return Unfolded(
        torch.cat([_rows(weights, outputs) for weights in inputs], dim=-2),
        torch.stack([_rows(weights, outputs) for weights in passing], dim=-2),
    )


def _rows(weights: Tensor, outputs: int) -> Tensor:
    """(…, outputs so far, m) to (…, m, outputs), with 0 for the outputs still to come."""
    return pad(weights.mT, (0, outputs - weights.shape[-2]))
