"""Gradient norms, layer by layer."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import get_total_norm

Groups = dict[str, list[nn.Parameter]]


def gradient_groups(model: nn.Module) -> Groups:
    """The parameters of a network by layer, in the order of depth; those that take no gradient are left out.

    `block_01` … are the blocks, `connections_01` … the residual connections around each; other parameters go by the
    name of the network's part that they are in: `embedding`, `stream`, `unembedding`.
    """
    blocks, connections = len(model.blocks), len(model.stream.connections)
    digits = len(str(blocks))
    groups: Groups = {}
    for name, parameter in model.named_parameters():
        part, *rest = name.split(".")
        if part == "blocks":
            part = f"block_{int(rest[0]) + 1:0{digits}}"
        elif rest and rest[0] == "connections":
            part = f"connections_{int(rest[1]) * blocks // connections + 1:0{digits}}"
        if parameter.requires_grad:
            groups.setdefault(part, []).append(parameter)
    return {name: groups[name] for name in sorted(groups, key=_depth)}


def _depth(name: str) -> tuple[int, str]:
    heads = ("embedding", "block", "connections")
    head = name.partition("_")[0]
    return heads.index(head) if head in heads else len(heads), name


@torch.no_grad()
def gradient_norms(groups: Mapping[str, Iterable[nn.Parameter]]) -> dict[str, Tensor]:
    """The norm of each group's gradients as one vector, a scalar on the device; groups without gradients are left out.

    Nothing waits for the device. Of sharded parameters it is the norm over all shards, for which every process calls
    this alike.
    """
    norms = {}
    for name, parameters in groups.items():
        if gradients := [p.grad for p in parameters if p.grad is not None]:
            norm = get_total_norm(gradients)
            norms[name] = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return norms


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
