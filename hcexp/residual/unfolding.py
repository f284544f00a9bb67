"""The unfolding: every sublayer's input as a weighted sum of all outputs before it (the paper's Eqs. 20, 27, 29)."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hcexp.residual.operator import Coefficients, reads_channels


class Unfolded(NamedTuple):
    """Connection matrices of L sublayers with n streams, with token axes or without.

    Columns are the outputs T_j: the embedding's slices of width d (one, in most modes), then the sublayers 1 … L.

    C_0: (…, L + 1, 1 + L)  row k: their weights in the input of sublayer k; the last row, in the hidden vector before
                            the final norm (a row for each of its slices of width d).
    C:   (…, n, L, 1 + L)   C^(i): their weights in stream i where it passes sublayer k by; 0 where there is no such
                            stream yet.
    channels: (…, L, d, 1 + L)  of a mode that reads each channel by itself, whose C_0 has their means; else None.
    """

    C_0: Tensor
    C: Tensor
    channels: Tensor | None = None


def unfold(expand_weights: Tensor, coefficients: Sequence[Coefficients], reduce_weights: Tensor) -> Unfolded:
    """`c_kj = B_j (∏_{t=j+1}^{k-1} A_r^t) A_m^k`, from what the stream and its connections state.

    The product is not made anew for every pair: each output's weights in the n streams, (…, n), go through every
    A_r once, in float32 or wider. They are exact for the modes whose streams are sums of outputs, all of today's;
    where LayerNorm norms a stream, an output counts less its mean.
    """
    dtype = reduce(torch.promote_types, (weights.dtype for c in coefficients for weights in c), torch.float32)
    coefficients = [Coefficients(*(weights.to(dtype) for weights in c)) for c in coefficients]
    like = coefficients[0].B
    columns = [c.A_m if reads_channels(c.A_m) else c.A_m.unsqueeze(-1) for c in coefficients]  # (…, n, 1 or d)
    tokens = torch.broadcast_shapes(reduce_weights.shape[:-2], *(c.B.shape[:-1] for c in coefficients))
    tokens = torch.broadcast_shapes(
        tokens, *(matrix.shape[:-2] for matrix in (*columns, *(c.A_r for c in coefficients)))
    )
    held = expand_weights.to(like).expand(*tokens, *expand_weights.shape)  # (…, outputs so far, n)
    inputs, passing = [], []
    with torch.autocast(like.device.type, enabled=False):
        for (B, _, A_r), A_m in zip(coefficients, columns, strict=True):
            inputs.append(held @ A_m)
            held = held @ A_r
            passing.append(held)
            held = torch.cat((held, B.expand(*tokens, -1).unsqueeze(-2)), dim=-2)
        last = held @ reduce_weights.to(like)
    outputs, streams = held.shape[-2], max(weights.shape[-1] for weights in passing)
    width = max(weights.shape[-1] for weights in inputs)
    means = [weights.mean(dim=-1, keepdim=True) for weights in inputs]
    return Unfolded(
        C_0=torch.cat([_rows(weights, outputs, weights.shape[-1]) for weights in (*means, last)], dim=-2),
        C=torch.stack([_rows(weights, outputs, streams) for weights in passing], dim=-2),
        channels=torch.stack([_rows(w.expand(*w.shape[:-1], width), outputs, width) for w in inputs], dim=-3)
        if width > 1
        else None,
    )


def _rows(weights: Tensor, outputs: int, rows: int) -> Tensor:
    """(…, outputs so far, m) to (…, rows, outputs), with 0 for the outputs and the rows that are still to come."""
    return pad(weights.mT, (0, outputs - weights.shape[-2], 0, rows - weights.shape[-1]))
