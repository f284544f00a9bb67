"""The projection of a normed vector, from the raw one."""

import torch
from torch import Tensor, nn

from hcexp.residual.norm_scale import norm_scale


def normed_projection(H: Tensor, W: Tensor, norm: nn.Module) -> Tensor:
    """`norm(H) @ W` for H of shape (…, d) and W of shape (d, m), in float32 or wider, without making `norm(H)`.

    A norm divides by a scalar per vector, which commutes with the projection; LayerNorm's centring of the vector is
    a centring of W's columns instead; and the norm's weights multiply W's rows. Any norm other than torch's
    LayerNorm and RMSNorm takes the plain way.
    """
    H = H.to(torch.promote_types(H.dtype, torch.float32))
    W = W.to(H.dtype)
    if not isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        return norm(H) @ W
    offset = norm.bias.to(H.dtype) @ W if getattr(norm, "bias", None) is not None else None
    if norm.weight is not None:
        W = norm.weight.to(H.dtype).unsqueeze(-1) * W
    if isinstance(norm, nn.LayerNorm):
        W = W - W.mean(dim=0)
    projected = (H @ W) * norm_scale(norm, H)
    return projected if offset is None else projected + offset
