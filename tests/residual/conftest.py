"""Every setting of every registered mode, and small sublayers to carry."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.registered import label, residual, settings

KINDS = ("attention", "feed_forward") * 2
NORMS = {
    "layer_norm": partial(nn.LayerNorm, bias=False, eps=1e-5, elementwise_affine=False),
    "rms_norm": partial(nn.RMSNorm, eps=1e-6, elementwise_affine=False),
}


@pytest.fixture(params=settings(), ids=label)
def setting(request):
    return request.param


@pytest.fixture(params=sorted(NORMS))
def norm(request):
    return NORMS[request.param]


def stream_of(setting, d: int, norm, *, perturbed: bool):
    """A float64 stream in its initial state, or with every parameter moved away from it."""
    stream = residual(*setting)(d, KINDS, norm).double()
    stream.reset_parameters()
    if perturbed:
        perturb(stream)
    return stream


@torch.no_grad()
def perturb(module: nn.Module, scale: float = 0.5) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(-1, keepdim=True)


def sublayers(d: int, *, centred: bool = False) -> list[nn.Module]:
    """`centred` ones have outputs of zero mean: what makes LayerNorm a scaling, as Eq. 16 has it."""
    torch.manual_seed(2)
    last = Centred if centred else nn.Identity
    return [nn.Sequential(nn.Linear(d, d), nn.Tanh(), last()).double() for _ in KINDS]
