"""Every mode and its settings, as they are registered in `conf/residual/`, and small networks that carry them."""

from functools import partial

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from hcexp.run import shipped

KINDS = ("attention", "feed_forward") * 2
NORMS = {
    "layer_norm": partial(nn.LayerNorm, bias=False, eps=1e-5, elementwise_affine=False),
    "rms_norm": partial(nn.RMSNorm, eps=1e-6, elementwise_affine=False),
}

# A new mode joins every test over `settings` by being registered; modes with n are tried with odd and even ones.
MODES = sorted(path.stem for path in (shipped("conf") / "residual").glob("*.yaml"))
OPTIONS = {
    "shc": ["residual.train_wc=false", "residual.train_b=false"],
    "dhc": ["residual.tanh=false", "residual.train_wc=false", "residual.train_b=false", "residual.norm_affine=true"],
}


def residual(*overrides: str):
    with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        return instantiate(compose("train", list(overrides)).residual)


def settings() -> list[tuple[str, ...]]:
    found = []
    for mode in MODES:
        has_n = "n" in residual(f"residual={mode}").keywords
        rates = [(f"residual.n={n}",) for n in (1, 2, 3, 4)] if has_n else [()]
        found += [(f"residual={mode}", *rate) for rate in rates]
        found += [(f"residual={mode}", *rates[-2:][0], option) for option in OPTIONS.get(mode, ())]
    return found


@pytest.fixture(params=settings(), ids=lambda overrides: ",".join(o.split("residual")[1][1:] for o in overrides))
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


def sublayers(d: int) -> list[nn.Module]:
    torch.manual_seed(2)
    return [nn.Sequential(nn.Linear(d, d), nn.Tanh()).double() for _ in KINDS]
