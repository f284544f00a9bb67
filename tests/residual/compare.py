"""A stream carried through sublayers in which tokens meet, and the comparison of two such runs with their gradients."""

import torch
from torch import nn

from tests.residual import reference


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
    """The sublayer with outputs of zero mean: what makes LayerNorm a scaling, as Eq. 16 has it."""

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


def literal(stream, layers) -> list[tuple]:
    """Each sublayer with the norm of its connection, as `reference` takes them."""
    return list(zip(bound(layers), [reference.as_written(c.norm) for c in stream.connections], strict=True))


def run(stream, layers, h):
    """Every state from the embedding on, and the reduced hidden vector."""
    states = [stream.expand(h)]
    for connection, layer, context in zip(stream.connections, layers, contexts(layers), strict=True):
        states.append(connection(states[-1], layer, *context))
    return states, stream.reduce(states[-1])


def draw(*shape: int):
    """The mean is not zero, so that LayerNorm's centring counts."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5).requires_grad_()


def assert_same(ours, theirs, leaves, others=None):
    """Forward, and the gradient to every leaf (to theirs of `others`), none of which may be left out."""
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = [
        torch.autograd.grad((end * weight).sum(), of, retain_graph=True)
        for end, of in ((ours, leaves), (theirs, others or leaves))
    ]
    for own, other in zip(*gradients, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(own.view_as(other), other, rtol=1e-9, atol=1e-9)


def assert_finite_differences(stream, h):
    """The gradients to the embedding and to the stream's trained parameters are those of finite differences."""
    layers = blocks(stream.d, len(stream.connections) // 2)
    names = [name for name, p in stream.named_parameters() if p.requires_grad]

    def end(h, *values):
        given = {f"stream.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Network(stream, layers), given, (h,))

    values = [stream.get_parameter(name).detach().clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(end, (h, *values))


class Network(nn.Module):
    def __init__(self, stream, layers):
        super().__init__()
        self.stream, self.layers = stream, layers

    def forward(self, h):
        return run(self.stream, self.layers, h)[1]
