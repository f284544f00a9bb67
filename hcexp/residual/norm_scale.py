"""The scalar by which a norm multiplies a vector."""

import torch
from torch import Tensor, nn


def norm_scale(norm: nn.Module, x: Tensor) -> Tensor:
    """`1/√(σ² + ε)`, (…, 1), for vectors x of shape (…, d).

    σ² is the variance for LayerNorm, which also centres x, and the mean square for RMSNorm. The norm's weights are
    left out. Raises TypeError for any other norm.
    """
    if isinstance(norm, nn.LayerNorm):
        second_moment = torch.var(x, dim=-1, correction=0, keepdim=True)
    elif isinstance(norm, nn.RMSNorm):
        second_moment = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1]
    else:
        raise TypeError(f"{type(norm).__name__} is not a norm that divides by one number: LayerNorm and RMSNorm do")
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    return torch.rsqrt(second_moment + eps)


def stream_scale(norm: nn.Module, x: Tensor) -> Tensor:
    """`norm_scale` where it is all that the norm does to x: the coefficient of a stream that is normed as a whole.

    That is so for RMSNorm, and for LayerNorm if x has zero mean (Hyper-Connections, Eq. 16). Raises ValueError for a
    norm with weights, which scales each of the d components by its own number.
    """
    if norm.weight is not None:
        raise ValueError("model.norm_affine=true: a stream that is normed with weights has no coefficient as a whole")
    return norm_scale(norm, x)
