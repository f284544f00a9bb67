"""Gradient norms, layer by layer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hcexp.callbacks.gradients import gradient_groups, gradient_norms


def loss_gradient_norms(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """The gradient norms, by group, of the mean cross-entropy over all the tokens of `batches`.

    `batches` are inputs and targets of shape (batch, seq). The model's gradients are gone afterwards.
    """
    groups = gradient_groups(model)
    model.zero_grad(set_to_none=True)
    count = 0
    for inputs, targets in batches:
        logits = model(inputs)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, 1)
        cross_entropy(wide, targets.flatten(), reduction="sum").backward()
        count += targets.numel()
    norms = {name: norm.item() / count for name, norm in gradient_norms(groups).items()}
    model.zero_grad(set_to_none=True)
    return norms
