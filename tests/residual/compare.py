"""A stream carried through sublayers in which tokens meet, and the comparison of two such runs with their gradients."""

from functools import partial

import torch
from torch import nn

from tests.residual.conftest import NORMS

# With weights and without: a norm with weights is no scaling, which is where a mode's algebra may end.
EVERY_NORM = NORMS | {f"{name} with weights": partial(make, elementwise_affine=True) for name, make in NORMS.items()}


class CausalMean(nn.Module):
    """Stands for attention: a token meets those before it, and a second argument comes from the network."""

    def __init__(self, d: int):
        super().__init__()
        self.out = nn.Linear(d, d)

    def forward(self, x, shift):
        count = torch.arange(1, x.shape[-2] + 1, dtype=x.dtype).unsqueeze(-1)
        return torch.tanh(self.out(x.cumsum(-2) / count) + shift)


def centred(h):
    return h - h.mean(-1, keepdim=True)


class CentredOutput(nn.Module):
    """The sublayer with outputs of zero mean."""

    def __init__(self, sublayer: nn.Module):
        super().__init__()
        self.sublayer = sublayer

    def forward(self, *given):
        return centred(self.sublayer(*given))


def blocks(d: int, count: int, *, zero_means: bool = False) -> nn.ModuleList:
    """Sublayers of `count` blocks: what stands for attention, and a feed-forward."""
    torch.manual_seed(2)
    layers = []
    for _ in range(count):
        layers += [CausalMean(d), nn.Sequential(nn.Linear(d, d), nn.Tanh())]
    return nn.ModuleList(CentredOutput(layer) if zero_means else layer for layer in layers).double()


SHIFT = torch.tensor(0.3, dtype=torch.float64)


def contexts(layers) -> list[tuple]:
    """Of each sublayer: attention's have a second argument, as in a model's block."""
    return [(SHIFT,) if k % 2 == 0 else () for k in range(len(layers))]


def bound(layers) -> list:
    """The sublayers as functions of x alone."""
    return [lambda x, T=T, c=c: T(x, *c) for T, c in zip(layers, contexts(layers), strict=True)]


def run(stream, layers, h):
    """Every state from the embedding on, and the reduced hidden vector."""
    states = [stream.expand(h)]
    for connection, layer, context in zip(stream.connections, layers, contexts(layers), strict=True):
        states.append(connection(states[-1], layer, *context))
    return states, stream.reduce(states[-1])


def draw(*shape: int):
    """The mean is not zero, so that LayerNorm's centring counts."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5).requires_grad_()


def assert_same(ours, theirs, leaves):
    """Forward, and the gradient to every leaf, none of which may be left out."""
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = [torch.autograd.grad((given * weight).sum(), leaves, retain_graph=True) for given in (ours, theirs)]
    for own, other in zip(*gradients, strict=True):
        assert own.abs().max() > 0
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


def whole(stream, layers, h):
    """The run as a function of the embedding and of the stream's parameters, and those: what gradcheck takes."""
    names = [name for name, p in stream.named_parameters() if p.requires_grad]
    given = [h, *(stream.get_parameter(name).detach().clone().requires_grad_() for name in names)]
    network = Network(stream, layers)

    def function(h, *values):
        values = {f"stream.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(network, values, (h,))

    return function, given


class Network(nn.Module):
    def __init__(self, stream, layers):
        super().__init__()
        self.stream, self.layers = stream, layers

    def forward(self, h):
        return run(self.stream, self.layers, h)[1]
