"""The projection of a normed vector, from the raw one."""

import torch
from torch import Tensor, nn


def normed_projection(H: Tensor, W: Tensor, norm: nn.Module) -> Tensor:
    """`norm(H) @ W` for H of shape (…, d) and W of shape (d, m), in float32 or wider, without making `norm(H)`.

    A norm divides by a scalar per vector, which commutes with the projection; LayerNorm's centring of the vector is
    a centring of W's columns instead; and the norm's weights multiply W's rows. Any norm other than torch's
    LayerNorm and RMSNorm takes the plain way.
    """
    H = H.to(torch.promote_types(H.dtype, torch.float32))
    W = W.to(H.dtype)
    if isinstance(norm, nn.LayerNorm):
        second_moment = torch.var(H, dim=-1, correction=0, keepdim=True)
    elif isinstance(norm, nn.RMSNorm):
        second_moment = torch.linalg.vector_norm(H, dim=-1, keepdim=True).square() / H.shape[-1]
    else:
        return norm(H) @ W
    eps = torch.finfo(H.dtype).eps if norm.eps is None else norm.eps
    offset = norm.bias.to(H.dtype) @ W if getattr(norm, "bias", None) is not None else None
    if norm.weight is not None:
        W = norm.weight.to(H.dtype).unsqueeze(-1) * W
    if isinstance(norm, nn.LayerNorm):
        W = W - W.mean(dim=0)
    projected = (H @ W) * torch.rsqrt(second_moment + eps)
    return projected if offset is None else projected + offset
