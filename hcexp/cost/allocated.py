"""Memory of a training step's activations, counted on tensors without values.

Every tensor that forward, loss and backward make is followed from its making to its end; the most that live at a time
is what the step needs beside weights, gradients and optimizer states. That is the eager code as it stands, in its
precision: compiled blocks keep less.
"""

import weakref
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from hcexp.cost.workload import Workload, autocast


class Allocated(NamedTuple):
    """Bytes at the peak of a step: `fixed + samples · (kept + logits)`.

    fixed: with any number of samples: autocast's copies of the weights, weight gradients on their way.
    kept: a sample's, when all blocks are through: what the backward pass will ask for.
    logits: a sample's, what the peak has above that: of the loss, or within a block that is made again.
    """

    fixed: float
    kept: float
    logits: float

    def bytes(self, samples: int) -> float:
        return self.fixed + samples * (self.kept + self.logits)


def count_allocated(
    model: nn.Module, workload: Workload, *, samples: int, dtype: torch.dtype, mixed: bool
) -> Allocated:
    """Count the step of one micro-batch among several, whose gradients join those that are there.

    Exact for `samples` and twice as many; from these to other sizes by the line through them.

    Args:
        model: may lie on the meta device.
        workload: says what is made of the micro-batch.
        samples: of the micro-batch.
        dtype: of the weights.
        mixed: whether the step is under autocast to bfloat16.

    Raises whatever a residual mode raises on tensors that have shapes but no values.
    """
    once, twice = (_peak(model, workload, size, dtype, mixed) for size in (samples, 2 * samples))
    a_sample, kept = ((two - one) / samples for one, two in zip(once, twice, strict=True))
    return Allocated(fixed=once[0] - samples * a_sample, kept=kept, logits=a_sample - kept)


def _peak(model: nn.Module, workload: Workload, samples: int, dtype: torch.dtype, mixed: bool) -> tuple[int, int]:
    """At the peak, and between the last block and the unembedding."""
    model = deepcopy(model).to(dtype)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
        batch = workload.example(samples)
        with Living() as living:
            before: list[int] = []
            model.stream.reduce = _noting(model.stream.reduce, lambda: before.append(living.now))
            with autocast(mixed):
                loss = workload.objective(model, batch).minimised
            loss.backward()
    return living.peak, before[0]


def _noting(function: Callable, note: Callable[[], object]) -> Callable:
    def noted(*arguments: Any) -> Any:
        result = function(*arguments)
        note()
        return result

    return noted


class Living(TorchDispatchMode):
    """The bytes of all storages made under it: those that live `now`, and the most there were, `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and id(storage := tensor.untyped_storage()) not in given:
                self._take(storage)
        return result

    def _take(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size
