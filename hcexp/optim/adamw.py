"""AdamW (Loshchilov & Hutter, 2019) over the decay groups."""

from collections.abc import Sequence

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
        if not lr > 0:
            raise ValueError(f"optimizer.lr={lr:g} must be greater than 0")
        if weight_decay < 0:
            raise ValueError(f"optimizer.weight_decay={weight_decay:g} must be 0 or more")
        self.settings = {"lr": lr, "betas": tuple(betas), "eps": eps, "fused": fused}
        self.weight_decay = weight_decay
        self.decay = {"decay_embeddings": decay_embeddings, "decay_norms": decay_norms}

    def __call__(self, model: nn.Module) -> torch.optim.AdamW:
        return torch.optim.AdamW(decay_groups(model, self.weight_decay, **self.decay), **self.settings)
