"""Initial weights.

Every weight has a generator of its own, keyed by (seed, parameter name), and is drawn whole and on the CPU: what a
residual mode adds to a network, the device it runs on and the processes that share it do not change the weights that
networks have in common.
"""

import hashlib
from copy import deepcopy
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from hcexp.model.sharding import copy_full
from hcexp.residual import ResidualStream

if TYPE_CHECKING:
    from hcexp.model.transformer import Transformer

CUTOFF = 3.0  # standard deviations at which OLMo truncates the normal distribution
NORMAL_STD = 0.02  # OLMoE


def key(seed: int, name: str) -> int:
    """What to seed a generator with, for a purpose that has a name, such as a parameter."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator of a parameter's own."""
    return torch.Generator().manual_seed(key(seed, name))


def draw(shape: torch.Size, std: float, seed: int, name: str) -> Tensor:
    """float32 values of a normal distribution truncated at 3 standard deviations."""
    values = torch.empty(shape, dtype=torch.float32, device="cpu")
    return nn.init.trunc_normal_(values, 0.0, std, -CUTOFF * std, CUTOFF * std, generator(seed, name))


class Initial(NamedTuple):
    """How a weight is to be drawn.

    Attributes:
        parameter: drawn, by a scheme, from a normal distribution around 0.
        fan_in: numbers that each of its outputs is a sum over.
        writes: whether its output goes to the residual stream: the projection that a sublayer ends with.
    """

    parameter: nn.Parameter
    fan_in: int
    writes: bool = False


def mitchell(fan_in: int, layer: int) -> tuple[float, float]:
    """OLMo's init: 1/√(fan in), and for what writes in block l (from 0) that divided by √(2(l+1))."""
    return 1 / sqrt(fan_in), 1 / sqrt(fan_in) / sqrt(2 * (layer + 1))


def normal(fan_in: int, layer: int) -> tuple[float, float]:
    """OLMoE's init: 0.02 everywhere."""
    return NORMAL_STD, NORMAL_STD


# The standard deviation of what reads, and of what writes before the residual mode's factor.
SCHEMES = {"mitchell": mitchell, "normal": normal}


@torch.no_grad()
def initialise(model: "Transformer", seed: int) -> None:
    """Set every parameter of the model, wherever it was built (also on the meta device, then made empty).

    Where the model is sharded, every process calls this and sets its parts. Raises ValueError if the residual mode
    leaves one of its own unset: it would be what lay in memory.
    """
    scheme, factor = SCHEMES[model.init], model.stream.output_init_factor
    names = {parameter: name for name, parameter in model.named_parameters()}
    _reset_norms(model.blocks)
    for tensor, values in _initial_values(model.stream, seed):
        copy_full(tensor, values)
    inside = [(layer, each) for layer, block in enumerate(model.blocks) for each in block.initial()]
    for layer, (parameter, fan_in, writes) in [*inside, *((0, each) for each in model.ends())]:
        reading, writing = scheme(fan_in, layer)
        std = factor * writing if writes else reading
        copy_full(parameter, draw(parameter.shape, std, seed, names[parameter]))


def _initial_values(stream: ResidualStream, seed: int) -> list[tuple[Tensor, Tensor]]:
    """The residual mode's parameters and buffers, each with what the mode itself sets a copy of it to.

    The copy is whole and on the CPU, wherever the stream's own lie: a mode need not know of shards. What it draws
    there at random depends on the seed alone.
    """
    own = {**dict(stream.named_parameters()), **dict(stream.named_buffers())}
    copies = {name: _unset(tensor) for name, tensor in own.items()}
    copy = deepcopy(stream, {id(tensor): copies[name] for name, tensor in own.items()})
    _reset_norms(copy)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(key(seed, "stream"))
        copy.reset_parameters()
    if unset := [f"stream.{name}" for name, values in copies.items() if values.isnan().any()]:
        raise ValueError(f"{type(stream).__name__}: reset_parameters leaves {', '.join(unset)} unset")
    return [(own[name], values) for name, values in copies.items()]


def _unset(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    if tensor.is_floating_point():
        empty.fill_(torch.nan)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _reset_norms(within: nn.Module) -> None:
    for module in within.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.reset_parameters()
