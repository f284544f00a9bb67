"""Memory traffic of a residual mode: what its eager code reads and writes, operation by operation.

Every operation reads its operands and writes its results, each as often as it lies in memory; views move nothing.
Fused by a compiler, or kept in a cache, it is less: this is what a mode takes if nothing is done about it. The
sublayers do nothing, and the norms belong to the mode here.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hcexp.cost.workload import autocast

aten = torch.ops.aten
UNTOUCHED = {aten._unsafe_view, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}


def count_traffic(model: nn.Module, positions: int, *, dtype: torch.dtype, mixed: bool) -> float:
    """Bytes a position, forward and backward, of the model's residual stream.

    Args:
        model: may lie on the meta device.
        positions: of a sample in the stream.
        dtype: of the embedding's output.
        mixed: whether the step is under autocast to bfloat16.

    Raises whatever a residual mode raises on tensors that have shapes but no values.
    """
    stream = deepcopy(model.stream).to(dtype)
    with FakeTensorMode(allow_non_fake_inputs=True):
        stream.to_empty(device="cpu")
        h = torch.empty(1, positions, stream.embedding_dim, dtype=dtype, requires_grad=True)
        with Traffic() as traffic:
            with autocast(mixed):
                state = stream.expand(h)
                for connection in stream.connections:
                    state = connection(state, lambda x: x)
                output = stream.reduce(state)
            output.backward(torch.empty_like(output))
    return traffic.bytes / positions


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operations under it read and write."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        written = [] if is_view or func.overloadpacket in UNTOUCHED else _tensors(result)
        if written:  # what only asks for a tensor's device touches nothing
            self.bytes += sum(map(_size, written)) + sum(map(_size, _tensors((args, kwargs))))
        return result


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _size(tensor: Tensor) -> int:
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())  # expanded ones lie once
