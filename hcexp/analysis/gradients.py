"""Gradient norms of a loss, layer by layer."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.utils._pytree import tree_leaves

from hcexp.callbacks.gradients import gradient_groups, gradient_norms
from hcexp.objective import Objective


def loss_gradient_norms(model: nn.Module, objective: Objective, batches: Iterable[Any]) -> dict[str, float]:
    """The gradient norms, by group, of the mean of what an objective minimises over `batches`.

    A batch counts by the numbers in its first tensor: of text by its tokens. The model's gradients are gone afterwards.
    """
    groups = gradient_groups(model)
    model.zero_grad(set_to_none=True)
    count = 0
    for batch in batches:
        size = tree_leaves(batch)[0].numel()
        (size * objective(model, batch).minimised).backward()
        count += size
    norms = {name: norm.item() / count for name, norm in gradient_norms(groups).items()}
    model.zero_grad(set_to_none=True)
    return norms
