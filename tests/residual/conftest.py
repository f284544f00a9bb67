"""Every setting of every registered mode, and streams in float64."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.registered import label, residual, settings

D = 6
NORMS = {
    "layer_norm": partial(nn.LayerNorm, bias=False, eps=1e-5, elementwise_affine=False),
    "rms_norm": partial(nn.RMSNorm, eps=1e-6, elementwise_affine=False),
}
# With weights and without: a norm with weights is no scaling, which is where a mode's algebra may end.
EVERY_NORM = NORMS | {f"{name} with weights": partial(make, elementwise_affine=True) for name, make in NORMS.items()}


@pytest.fixture(params=settings(), ids=label)
def setting(request):
    return residual(*request.param)


@pytest.fixture(params=sorted(NORMS))
def norm(request):
    return NORMS[request.param]


def made(mode, norm, *, d=D, blocks=2, perturbed=True, **knobs):
    """A stream as it starts, or with every parameter moved away from that."""
    stream = mode(d, ("attention", "feed_forward") * blocks, norm, **knobs).double()
    stream.reset_parameters()
    if perturbed:
        perturb(stream)
    return stream


@torch.no_grad()
def perturb(module: nn.Module, scale: float = 0.5) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
