"""Hyper-connections against the paper: initial state, a literal transcription, frozen parts."""

from functools import partial

import pytest
import torch
from torch import nn

from hcexp.residual import DynamicHyperConnections, PreNorm, StaticHyperConnections
from tests.residual import reference
from tests.residual.compare import assert_finite_differences, assert_same, blocks, draw, run
from tests.residual.conftest import NORMS, D, made

MODES = {
    "shc": StaticHyperConnections,
    "shc, WC frozen": partial(StaticHyperConnections, train_wc=False),
    "dhc": DynamicHyperConnections,
    "dhc, W/O tanh": partial(DynamicHyperConnections, tanh=False),
    "dhc, WC frozen": partial(DynamicHyperConnections, train_wc=False),
    "dhc, B frozen": partial(DynamicHyperConnections, train_b=False),
    "dhc, norm with weights": partial(DynamicHyperConnections, norm_affine=True),
}


@pytest.mark.parametrize("mode", MODES)
def test_at_initialisation_every_stream_is_pre_norm(mode, norm):
    layers, h = blocks(D, 2), draw(2, 3, D)
    expected, _ = run(made(PreNorm, norm), layers, h)
    for n in (1, 2, 3, 4, 8):
        states, _ = run(made(MODES[mode], norm, n=n, perturbed=False), layers, h)
        for H, plain in zip(states, expected, strict=True):
            torch.testing.assert_close(H, torch.stack([plain] * n, dim=-2), rtol=0, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", ["shc", "dhc", "dhc, W/O tanh"])
def test_equals_the_paper_line_by_line(mode, n, norm):
    """With every parameter perturbed: at the initial values a wrong axis, or A_r left out, would not show."""
    stream, h = made(MODES[mode], norm, n=n), draw(2, 3, D)
    layers = blocks(D, 4)[1::2]  # the transcription goes token by token
    H = stream.expand(h)
    for connection, layer in zip(stream.connections, layers, strict=True):
        H = connection(H, layer)
    written = [(T, dict(c.weights.named_parameters())) for T, c in zip(layers, stream.connections, strict=True)]
    theirs = reference.network(h, written, norm(D), n, mode != "shc", tanh=mode == "dhc")
    assert_same(stream.reduce(H), theirs, [h, *stream.parameters(), *layers.parameters()])


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_finite_differences(mode, norm):
    assert_finite_differences(made(MODES[mode], norm, d=4, blocks=1, n=3), draw(1, 2, 4))


@pytest.mark.parametrize("exponent, factor", [(0.5, 0.5), (0.0, 1.0), (1.0, 0.25), (-0.5, 2.0)])
def test_output_init_factor(exponent, factor):
    stream = made(StaticHyperConnections, NORMS["layer_norm"], n=4, output_init_exponent=exponent)
    assert stream.output_init_factor == pytest.approx(factor)


@torch.no_grad()
def test_bfloat16_streams_are_mixed_with_float32_coefficients(norm):
    """Near 1 bfloat16 has steps of 0.004 to 0.008: rounded to it, the difference of these two would be nothing."""
    first, read = made(DynamicHyperConnections, norm, d=8, n=2, perturbed=False).float().connections[0], []
    first.norm = nn.Identity()
    first.weights.A[:, 0] = torch.tensor([1.001, -1.0])
    first(torch.ones(1, 1, 2, 8, dtype=torch.bfloat16), lambda x: read.append(x) or x)
    torch.testing.assert_close(read[0].float(), torch.full((1, 1, 8), 0.001), rtol=0.01, atol=0)
    assert read[0].dtype == torch.bfloat16
