"""AdamW (Loshchilov & Hutter, 2019) over the decay groups."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import nn

from hcexp.optim.groups import decay_groups


class AdamW:
    """Makes torch's AdamW for a model.

    Args:
        lr: the peak learning rate.
        betas, eps, weight_decay, fused: as torch has them.
        decay_embeddings, decay_norms: see `decay_groups`.

    Raises ValueError, naming the knob, for values out of range.
    """

    def __init__(
        self,
        *,
        lr: float,
        betas: Sequence[float],
        eps: float,
        weight_decay: float,
        decay_embeddings: bool = False,
        decay_norms: bool = False,
        fused: bool = True,
    ):
        if not (lr > 0 and isfinite(lr)):
            raise ValueError(f"optimizer.lr={lr:g} must be greater than 0, and finite")
        for name, value in {"eps": eps, "weight_decay": weight_decay}.items():
            if not (value >= 0 and isfinite(value)):
                raise ValueError(f"optimizer.{name}={value:g} must be 0 or more, and finite")
        two = isinstance(betas, Sequence) and len(betas) == 2
        if not two or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in betas):
            raise ValueError(f"optimizer.betas={betas} must be two numbers, each 0 or more and less than 1")
        self.settings = {"lr": lr, "betas": tuple(betas), "eps": eps, "fused": fused}
        self.weight_decay = weight_decay
        self.decay = {"decay_embeddings": decay_embeddings, "decay_norms": decay_norms}

    def __call__(self, model: nn.Module) -> torch.optim.AdamW:
        return torch.optim.AdamW(decay_groups(model, self.weight_decay, **self.decay), **self.settings)
