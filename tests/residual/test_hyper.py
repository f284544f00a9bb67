"""Hyper-connections against the paper: initial state, a literal transcription, frozen parts."""

from functools import partial

import pytest
import torch
from torch import nn

from hcexp.residual import DynamicHyperConnections, PreNorm, StaticHyperConnections
from tests.residual import reference
from tests.residual.conftest import KINDS, NORMS, perturb, sublayers

D = 6


def run(stream, sublayers, h):
    """Every state from the embedding on, and the reduced hidden vector."""
    states = [stream.expand(h)]
    for connection, sublayer in zip(stream.connections, sublayers, strict=True):
        states.append(connection(states[-1], sublayer))
    return states, stream.reduce(states[-1])


def embedding(seq=3):
    return torch.randn(2, seq, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


MODES = {
    "shc": StaticHyperConnections,
    "shc, WC frozen": partial(StaticHyperConnections, train_wc=False),
    "dhc": DynamicHyperConnections,
    "dhc, W/O tanh": partial(DynamicHyperConnections, tanh=False),
    "dhc, WC frozen": partial(DynamicHyperConnections, train_wc=False),
    "dhc, B frozen": partial(DynamicHyperConnections, train_b=False),
    "dhc, norm with weights": partial(DynamicHyperConnections, norm_affine=True),
}


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("mode", MODES)
def test_at_initialisation_every_stream_is_pre_norm(mode, n, norm):
    stream, plain, layers = MODES[mode](D, KINDS, norm, n=n).double(), PreNorm(D, KINDS, norm), sublayers(D)
    stream.reset_parameters()
    states, _ = run(stream, layers, embedding())
    expected, _ = run(plain, layers, embedding())
    for H, h in zip(states, expected, strict=True):
        assert H.shape == (2, 3, n, D)
        for i in range(n):
            torch.testing.assert_close(H[..., i, :], h, rtol=0, atol=1e-14)


def parameters(connection):
    names = [name for name, _ in connection.weights.named_parameters() if not name.startswith("norm.")]
    return {name: getattr(connection.weights, name) for name in names}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "mode, dynamic, tanh", [("shc", False, True), ("dhc", True, True), ("dhc, W/O tanh", True, False)]
)
def test_equals_the_paper_line_by_line(mode, dynamic, tanh, n, norm):
    """With every parameter perturbed: at the initial values a wrong axis, or A_r left out, would not show."""
    stream, layers = MODES[mode](D, KINDS, norm, n=n).double(), sublayers(D)
    stream.reset_parameters()
    perturb(stream)
    h = embedding(seq=5).requires_grad_()
    literal = [(layer, parameters(c)) for layer, c in zip(layers, stream.connections, strict=True)]
    leaves = [h, *stream.parameters(), *(p for layer in layers for p in layer.parameters())]
    weight = torch.randn(h.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    _, ours = run(stream, layers, h)
    theirs = reference.network(h, literal, norm(D), n, dynamic, tanh)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    for own, literal_gradient in zip(
        torch.autograd.grad((ours * weight).sum(), leaves),
        torch.autograd.grad((theirs * weight).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(own, literal_gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_finite_differences(mode, norm):
    stream, layers = MODES[mode](4, KINDS[:2], norm, n=3).double(), sublayers(4)[:2]
    stream.reset_parameters()
    perturb(stream)
    trained = [name for name, p in stream.named_parameters() if p.requires_grad]
    values = [stream.get_parameter(name).detach().clone().requires_grad_() for name in trained]
    h = embedding()[:1, :, :4].clone().requires_grad_()

    def whole(h, *values):
        given = dict(zip((f"stream.{name}" for name in trained), values, strict=True))
        return torch.func.functional_call(nn.ModuleDict({"stream": Whole(stream, layers)})["stream"], given, (h,))

    assert torch.autograd.gradcheck(whole, (h, *values))


class Whole(nn.Module):
    def __init__(self, stream, layers):
        super().__init__()
        self.stream, self.layers = stream, layers

    def forward(self, h):
        return run(self.stream, self.layers, h)[1]


def test_the_initial_read_goes_round_the_streams():
    stream = StaticHyperConnections(D, KINDS, NORMS["layer_norm"], n=3)
    stream.reset_parameters()
    reads = [c.weights.A[:, 0].tolist() for c in stream.connections]
    assert reads == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_an_expansion_rate_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match=f"residual.n={n} .*from 1 to 1024"):
        DynamicHyperConnections(D, KINDS, NORMS["layer_norm"], n=n)


@pytest.mark.parametrize("exponent, factor", [(0.5, 0.5), (0.0, 1.0), (1.0, 0.25), (-0.5, 2.0)])
def test_output_init_factor(exponent, factor):
    stream = StaticHyperConnections(D, KINDS, NORMS["layer_norm"], n=4, output_init_exponent=exponent)
    assert stream.output_init_factor == pytest.approx(factor)


def test_autocast_does_not_round_the_streams(norm):
    """Pre-norm's stream stays float32 under autocast; mixing in bfloat16 would make the comparison unfair."""
    stream = DynamicHyperConnections(32, KINDS, norm, n=4)
    stream.reset_parameters()
    h = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    silent = [lambda x: torch.zeros_like(x)] * len(KINDS)
    with torch.autocast("cpu", torch.bfloat16):
        states, _ = run(stream, silent, h)
    assert states[-1].dtype == torch.float32
    torch.testing.assert_close(states[-1], stream.expand(h), rtol=0, atol=0)


@torch.no_grad()
def test_bfloat16_streams_are_mixed_with_float32_coefficients(norm):
    """Near 1 bfloat16 has steps of 0.004 to 0.008: rounded to it, the difference of these two would be nothing."""
    stream = DynamicHyperConnections(8, KINDS, norm, n=2)
    stream.reset_parameters()
    read = []
    first = stream.connections[0]
    first.norm = nn.Identity()
    first.weights.A[:, 0] = torch.tensor([1.001, -1.0])
    first(torch.ones(1, 1, 2, 8, dtype=torch.bfloat16), lambda x: read.append(x) or x)
    torch.testing.assert_close(read[0].float(), torch.full((1, 1, 8), 0.001), rtol=0.01, atol=0)
    assert read[0].dtype == torch.bfloat16
