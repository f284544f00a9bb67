"""Floating-point operations a token, counted operation by operation, in the convention of Table 8.

Of other samples than text a token stands for a position in the residual stream, such as a patch of an image.

- A multiply-add is 2.
- Of the network count its matrix products, the unembedding's among them. Attention scores are left out:
  `attention_flops` says how much that is.
- Of the residual mode counts every product that its own eager code makes of hidden vectors, as a matrix product or
  element by element: not what the operator would need for it. So a constant that only picks a stream costs nothing.
- Sums, norms, activation functions and what is done to coefficients alone do not count. The model's own norms stand in
  the mode with all that they have, and do nothing; what a mode takes of their statistics (`norm_scale`) is norm work.
- Training is forward and backward, both counted: where something is frozen it is less than three times the forward.

Counted on fake tensors, meta tensors that claim a device (which autocast wants to know): shapes, and no memory.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from hcexp.cost.workload import Workload
from hcexp.residual import ResidualStream

aten = torch.ops.aten


class Flops(NamedTuple):
    """Operations a position.

    forward: of the whole model, attention scores left out.
    training: of forward and backward.
    residual: what of `forward` the residual mode does.
    """

    forward: float
    training: float
    residual: float


def count_flops(model: nn.Module, workload: Workload) -> Flops:
    """Count one sample through a model, forward and backward; the model may lie on the meta device.

    Raises whatever a residual mode raises on tensors that have shapes but no values: `.item()` does, say.
    """
    positions = workload.positions(model)
    network, mode = _network(model, workload, positions), _mode(model, positions)
    forward, training = (sum(counts) / positions for counts in zip(network, mode, strict=True))
    return Flops(forward, training, mode[0] / positions)


def attention_flops(model: nn.Module, positions: int) -> int:
    """Operations a position that `count_flops` leaves out forward: scores and weighted values, over all `positions`.

    Half of them lie behind the causal mask; a kernel may skip these.
    """
    return 4 * model.stream.d * positions * model.stream.kinds.count("attention")


_networks: dict[tuple, tuple[int, int]] = {}  # the largest part, and the same under most modes


def _network(model: nn.Module, workload: Workload, positions: int) -> tuple[int, int]:
    """The sublayers one after the other, between embedding and loss: forward, forward and backward."""
    outside = [(n, p) for n, p in model.named_parameters() if not n.startswith("stream.")]
    key = (type(model), type(workload.objective), positions, *((name, p.shape, p.requires_grad) for name, p in outside))
    if key not in _networks:
        chained = deepcopy(model)
        chained.stream = _Chain(model.stream)
        for block in chained.blocks:
            block.activation_checkpointing = False  # what is made a second time is no operation of the model
        with FakeTensorMode(allow_non_fake_inputs=True):
            chained.to_empty(device="cpu")
            _networks[key] = _count(lambda: workload.loss(chained, 1))
    return _networks[key]


def _mode(model: nn.Module, positions: int) -> tuple[int, int]:
    """The residual stream around sublayers, and with norms, that do nothing."""
    stream = deepcopy(model.stream)
    for module in stream.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.forward = _nothing  # a mode still finds its kind, its ε and its weights
    with FakeTensorMode(allow_non_fake_inputs=True):
        stream.to_empty(device="cpu")
        h = torch.empty(1, positions, stream.embedding_dim, requires_grad=True)
        return _count(lambda: _carry_nothing(stream, h), vectors=(positions, stream.d))


def _nothing(x: Tensor) -> Tensor:
    return x


def _carry_nothing(stream: ResidualStream, h: Tensor) -> Tensor:
    state = stream.expand(h)
    for connection in stream.connections:
        state = connection(state, _nothing)
    return stream.reduce(state)


class _Chain(nn.Module):
    """A stream that gives each sublayer the output of the last, and has no part of its own."""

    def __init__(self, stream: ResidualStream):
        super().__init__()
        self.d, self.copies = stream.d, stream.output_dim // stream.d
        self.connections = [lambda x, sublayer, *context: sublayer(x, *context)] * len(stream.connections)

    def expand(self, h: Tensor) -> Tensor:
        return h[..., : self.d]

    def reduce(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.copies, dim=-1)


def _count(function: Callable[[], Tensor], vectors: tuple[int, int] | None = None) -> tuple[int, int]:
    """Operations forward, and forward and backward: matrix products, and with `vectors` elementwise ones.

    `vectors` are (how many, of which width d): these count if they make at least so many, one or several side by side
    in the last axis. Anything else is coefficients.
    """
    formulas = dict(MATRIX_VECTOR)
    if vectors is not None:
        formulas |= dict.fromkeys(ELEMENTWISE, partial(_elementwise, *vectors))
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        output = function()
        forward = counter.get_total_flops()
        output.backward(torch.empty_like(output))
    return forward, counter.get_total_flops()


def _elementwise(at_least: int, d: int, *operands: Any, out_shape: torch.Size, **_: Any) -> int:
    # Of addcmul's three operands the last two are the factors. A factor without axes scales, which does not count.
    scales = any(not isinstance(factor, torch.Size) or not factor for factor in operands[-2:])
    width = next((size for size in reversed(out_shape) if size > 1), 1)  # einsum leaves axes of 1 behind
    if scales or prod(out_shape) < at_least * d or width % d or _of_a_statistic():
        return 0
    return 2 * prod(out_shape)


def _of_a_statistic() -> bool:
    """Whether autograd is at a norm's statistics, whose gradient it makes of elementwise products."""
    node = torch._C._current_autograd_node()
    return node is not None and node.name() in STATISTICS


def _dot(*operands: Any, **_: Any) -> int:
    return 2 * prod(operands[-2])


# Torch's counter knows products of matrices; the matrix or first vector is the last but one operand.
MATRIX_VECTOR = {aten.mv: _dot, aten.addmv: _dot, aten.dot: _dot, aten.vdot: _dot}
STATISTICS = {"VarBackward0", "VarMeanBackward0", "LinalgVectorNormBackward0"}
ELEMENTWISE = (aten.mul, aten.mul_, aten.addcmul, aten.addcmul_)
