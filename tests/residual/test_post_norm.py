"""Post-Norm: its definition, and how far Eq. 16 is it."""

import pytest
import torch
from torch import nn

from hcexp.residual import Coefficients, PostNorm, hyper_connect
from tests.residual import reference
from tests.residual.compare import EVERY_NORM, assert_same, blocks, bound, centred, draw, run, whole
from tests.residual.conftest import NORMS, perturb

D, BLOCKS = 6, 3
KINDS = ("attention", "feed_forward") * BLOCKS


def post_norm(norm, d=D, kinds=KINDS):
    stream = PostNorm(d, kinds, norm).double()
    perturb(stream)
    return stream


@pytest.mark.parametrize("name", EVERY_NORM)
def test_equals_its_definition(name):
    stream, layers, h = post_norm(EVERY_NORM[name]), blocks(D, BLOCKS), draw(2, 4, D)
    _, ours = run(stream, layers, h)
    norms = [reference.as_written(c.norm) for c in stream.connections]
    theirs = reference.post_norm(h, list(zip(bound(layers), norms, strict=True)))
    assert_same(ours, theirs, [h, *stream.parameters(), *layers.parameters()])


@pytest.mark.parametrize("name", EVERY_NORM)
def test_gradients_are_those_of_finite_differences(name):
    stream = post_norm(EVERY_NORM[name], 4, KINDS[:4])
    assert torch.autograd.gradcheck(*whole(stream, blocks(4, 2), draw(1, 2, 4)))


def eq_16(norm, h, output):
    """`1/√(σ_i² + σ_o² + 2σ_io + ε)`, (batch, seq): of the input and the output, about their means; about zero for
    RMSNorm."""
    if isinstance(norm, nn.LayerNorm):
        h, output = h - h.mean(-1, keepdim=True), output - output.mean(-1, keepdim=True)
    moment = {"i": (h * h).mean(-1), "o": (output * output).mean(-1), "io": (h * output).mean(-1)}
    return 1 / (moment["i"] + moment["o"] + 2 * moment["io"] + norm.eps).sqrt()


def eq_16_matrix(norm, h, output):
    scale = eq_16(norm, h, output)
    return Coefficients(scale[..., None], torch.ones(1).double(), scale[..., None, None])


def test_states_eq_16(norm):
    """Whatever the means are: what the statement is worth with them is the matter of the tests below."""
    stream, layers = post_norm(norm), blocks(D, BLOCKS)
    states, _ = run(stream, layers, draw(2, 4, D))
    for connection, T, h in zip(stream.connections, bound(layers), states, strict=False):
        stated, literal = connection.coefficients(h, T(h)), eq_16_matrix(connection.norm, h, T(h))
        for own, other in zip(stated, literal, strict=True):
            assert own.shape == other.shape
            torch.testing.assert_close(own, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name, zero_means", [("rms_norm", False), ("rms_norm", True), ("layer_norm", True)])
def test_eq_16_is_exact(name, zero_means):
    """For RMSNorm as it is; for LayerNorm if embedding and outputs have zero mean."""
    stream, layers, leaf = post_norm(NORMS[name]), blocks(D, BLOCKS, zero_means=zero_means), draw(2, 4, D)
    h = centred(leaf) if zero_means else leaf
    _, ours = run(stream, layers, h)
    H = h.unsqueeze(-2)
    for connection, T in zip(stream.connections, bound(layers), strict=True):
        x = H.squeeze(-2)
        H = hyper_connect(H, T, eq_16_matrix(connection.norm, x, T(x)))
    assert_same(ours, H.squeeze(-2), [leaf, *layers.parameters()])


@torch.no_grad()
@pytest.mark.parametrize("zero", ["nothing", "outputs", "embedding", "both"])
def test_eq_16_is_off_by_the_mean_over_sigma(zero):
    """LayerNorm subtracts the mean of h + T(h), which no coefficient can. In every component Eq. 16 is off by that
    mean over σ; the embedding's mean is gone after the first norm."""
    stream, layers = post_norm(NORMS["layer_norm"]), blocks(D, BLOCKS, zero_means=zero in ("outputs", "both"))
    h = draw(2, 4, D)
    states, _ = run(stream, layers, centred(h) if zero in ("embedding", "both") else h)
    largest = []
    for connection, T, before, after in zip(stream.connections, bound(layers), states, states[1:], strict=False):
        matrix = eq_16_matrix(connection.norm, before, T(before))
        excess = hyper_connect(before.unsqueeze(-2), T, matrix).squeeze(-2) - after
        mean = (before + T(before)).mean(-1)
        expected = (mean * eq_16(connection.norm, before, T(before))).unsqueeze(-1)
        torch.testing.assert_close(excess, expected.expand_as(excess), rtol=1e-11, atol=1e-14)
        largest.append(excess.abs().max().item())
    exact = {"nothing": [], "outputs": range(1, len(KINDS)), "embedding": [], "both": range(len(KINDS))}[zero]
    assert [k for k, off in enumerate(largest) if off < 1e-14] == list(exact)
    assert all(off > 0.05 for k, off in enumerate(largest) if k not in exact)


@pytest.mark.parametrize("name", [name for name in EVERY_NORM if "weights" in name])
def test_a_norm_with_weights_has_no_coefficients(name):
    stream, h = PostNorm(D, KINDS, EVERY_NORM[name]), torch.randn(1, 2, D)
    with pytest.raises(ValueError, match=r"model\.norm_affine=true: .*no coefficient"):
        stream.connections[0].coefficients(h, h)


def test_the_last_of_its_norms_is_the_final_one(norm):
    stream, layers = post_norm(norm), blocks(D, BLOCKS)
    states, hidden = run(stream, layers, draw(2, 4, D))
    assert torch.equal(hidden, states[-1])
    torch.testing.assert_close(hidden.square().mean(-1), torch.ones(2, 4).double(), rtol=1e-3, atol=0)
