"""Initial weights.

Every weight has a generator of its own, keyed by (seed, parameter name) and drawn on the CPU: what a residual mode
adds to a network, and the device it runs on, do not change the weights that networks have in common.
"""

import hashlib
from collections.abc import Iterator
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from hcexp.model.language import LanguageModel

CUTOFF = 3.0  # standard deviations at which OLMo truncates the normal distribution
NORMAL_STD = 0.02  # OLMoE


def generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator keyed by the run's seed and a parameter's name."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def draw(shape: torch.Size, std: float, seed: int, name: str) -> Tensor:
    """float32 values of a normal distribution truncated at 3 standard deviations."""
    values = torch.empty(shape, dtype=torch.float32, device="cpu")
    return nn.init.trunc_normal_(values, 0.0, std, -CUTOFF * std, CUTOFF * std, generator(seed, name))


def mitchell(model: "LanguageModel") -> Iterator[tuple[nn.Parameter, float]]:
    """OLMo's init: 1/√(fan in), the output projections of block l (from 0) divided by √(2(l+1))."""
    d = model.stream.d
    yield model.embedding.weight, 1 / sqrt(d)
    if model.unembedding is not None:
        yield model.unembedding.weight, 1 / sqrt(d)
    for layer, block in enumerate(model.blocks):
        attention, feed_forward = block.attention, block.feed_forward
        depth = sqrt(2 * (layer + 1))
        yield attention.qkv.weight, 1 / sqrt(d)
        yield feed_forward.gate_up.weight, 1 / sqrt(d)
        yield attention.out.weight, model.stream.output_init_factor / sqrt(d) / depth
        yield feed_forward.out.weight, model.stream.output_init_factor / sqrt(feed_forward.out.in_features) / depth


def normal(model: "LanguageModel") -> Iterator[tuple[nn.Parameter, float]]:
    """OLMoE's init: 0.02 everywhere."""
    yield model.embedding.weight, NORMAL_STD
    if model.unembedding is not None:
        yield model.unembedding.weight, NORMAL_STD
    for block in model.blocks:
        yield block.attention.qkv.weight, NORMAL_STD
        yield block.feed_forward.gate_up.weight, NORMAL_STD
        yield block.attention.out.weight, NORMAL_STD * model.stream.output_init_factor
        yield block.feed_forward.out.weight, NORMAL_STD * model.stream.output_init_factor


SCHEMES = {"mitchell": mitchell, "normal": normal}


@torch.no_grad()
def initialise(model: "LanguageModel", seed: int) -> None:
    """Set every parameter of the model, wherever it was built (also on the meta device, then made empty).

    Raises ValueError if the residual mode leaves one of its own unset: it would be what lay in memory.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    for parameter in model.stream.parameters():
        parameter.fill_(torch.nan)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.reset_parameters()
    model.stream.reset_parameters()
    if unset := [names[parameter] for parameter in model.stream.parameters() if parameter.isnan().any()]:
        raise ValueError(f"{type(model.stream).__name__}: reset_parameters leaves {', '.join(unset)} unset")
    for parameter, std in SCHEMES[model.init](model):
        parameter.copy_(draw(parameter.shape, std, seed, names[parameter]))
