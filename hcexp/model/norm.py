"""The norms a model may use, as factories that the residual stream calls."""

from functools import partial

from torch import nn

from hcexp.residual import NormFactory

NORMS = {"layer_norm": partial(nn.LayerNorm, bias=False), "rms_norm": nn.RMSNorm}


def norm_factory(name: str, *, affine: bool, eps: float) -> NormFactory:
    """The factory of the norm `name`, with weights if `affine`; OLMo's is LayerNorm without, eps 1e-5.

    Raises ValueError for an unknown name.
    """
    if name not in NORMS:
        raise ValueError(f"model.norm={name} is not a norm: choose from {sorted(NORMS)}")
    return partial(NORMS[name], eps=eps, elementwise_affine=affine)
