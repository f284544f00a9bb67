"""Tensors in shards: of each, every process of a device mesh has its part."""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def distribute_like(like: Tensor, whole: Tensor) -> Tensor:
    """`whole` as the tensor `like` lies: sharded if that is. Every process gives all of it, so that none is sent."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def copy_full(tensor: Tensor, whole: Tensor) -> None:
    """Set a tensor, sharded or not and on any device, to values that every process has."""
    tensor.copy_(distribute_like(tensor, whole))


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole of a tensor; of a sharded one all processes have to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
