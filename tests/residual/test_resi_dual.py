"""ResiDual: its definition, and how far its matrix is it."""

import pytest
import torch
from torch import nn

from hcexp.residual import Coefficients, ResiDual, hyper_connect
from tests.residual import reference
from tests.residual.compare import EVERY_NORM, assert_same, blocks, bound, centred, draw, run, whole
from tests.residual.conftest import NORMS, perturb

D, BLOCKS = 6, 3
KINDS = ("attention", "feed_forward") * BLOCKS


def resi_dual(norm, d=D, kinds=KINDS):
    stream = ResiDual(d, kinds, norm).double()
    perturb(stream)
    return stream


@pytest.mark.parametrize("name", EVERY_NORM)
def test_equals_its_definition(name):
    stream, layers, h = resi_dual(EVERY_NORM[name]), blocks(D, BLOCKS), draw(2, 4, D)
    _, ours = run(stream, layers, h)
    norms = [reference.as_written(c.norm) for c in stream.connections]
    last = reference.as_written(stream.sum_norm)
    theirs = reference.resi_dual(h, list(zip(bound(layers), norms, strict=True)), last)
    assert_same(ours, theirs, [h, *stream.parameters(), *layers.parameters()])


@pytest.mark.parametrize("name", EVERY_NORM)
def test_gradients_are_those_of_finite_differences(name):
    stream = resi_dual(EVERY_NORM[name], 4, KINDS[:4])
    assert torch.autograd.gradcheck(*whole(stream, blocks(4, 2), draw(1, 2, 4)))


@torch.no_grad()
def test_the_second_stream_is_the_embedding_and_all_outputs(norm):
    """Plainly summed: what a Post-Norm network's sublayers give, though none of its norms touches the sum."""
    stream, layers, h = resi_dual(norm), blocks(D, BLOCKS), draw(2, 4, D)
    states, _ = run(stream, layers, h)
    outputs = [T(state.x) for T, state in zip(bound(layers), states, strict=False)]
    torch.testing.assert_close(states[-1].r, h + sum(outputs), rtol=1e-12, atol=1e-12)


def one_over_sigma(norm, x):
    """(batch, seq): about the mean for LayerNorm, about zero for RMSNorm."""
    if isinstance(norm, nn.LayerNorm):
        x = centred(x)
    return 1 / ((x * x).mean(-1) + norm.eps).sqrt()


def matrix(norm, x, f):
    """A_m = (1, 0), B = (1/σ, 1), A_r = diag(1/σ, 1) with the σ of x + f."""
    scale = one_over_sigma(norm, x + f)
    one, zero = torch.ones_like(scale), torch.zeros_like(scale)
    A_r = torch.stack((torch.stack((scale, zero), -1), torch.stack((zero, one), -1)), -2)
    return Coefficients(torch.stack((scale, one), -1), torch.tensor([1.0, 0.0]).double(), A_r)


@torch.no_grad()
def test_states_its_matrix(norm):
    stream, layers = resi_dual(norm), blocks(D, BLOCKS)
    states, _ = run(stream, layers, draw(2, 4, D))
    for connection, T, (x, r) in zip(stream.connections, bound(layers), states, strict=False):
        stated = connection.coefficients(type(states[0])(x, r), T(x))
        for own, other in zip(stated, matrix(connection.norm, x, T(x)), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-12, atol=0)
    last = one_over_sigma(stream.sum_norm, states[-1].r)
    expected = torch.stack((torch.ones_like(last), last), -1).unsqueeze(-1)
    torch.testing.assert_close(stream.reduce_weights(states[-1]), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name, zero_means", [("rms_norm", False), ("rms_norm", True), ("layer_norm", True)])
def test_its_matrix_is_exact(name, zero_means):
    """For RMSNorm as it is; for LayerNorm if embedding and outputs have zero mean. From embedding to output."""
    stream, layers, leaf = resi_dual(NORMS[name]), blocks(D, BLOCKS, zero_means=zero_means), draw(2, 4, D)
    h = centred(leaf) if zero_means else leaf
    _, ours = run(stream, layers, h)
    H = torch.stack((h, h), dim=-2)
    for connection, T in zip(stream.connections, bound(layers), strict=True):
        x = H[..., 0, :]
        H = hyper_connect(H, T, matrix(connection.norm, x, T(x)))
    x, r = H.unbind(-2)
    theirs = x + one_over_sigma(stream.sum_norm, r).unsqueeze(-1) * r
    assert_same(ours, theirs, [leaf, *layers.parameters()])


@torch.no_grad()
@pytest.mark.parametrize("zero", ["nothing", "outputs", "embedding", "both"])
def test_its_matrix_is_off_by_the_mean_over_sigma(zero):
    """With LayerNorm: x by the mean of x + f over σ, in every component, r by nothing; and the output by r's mean
    over σ_r, in which, other than in x, the embedding's mean stays to the end."""
    stream, layers = resi_dual(NORMS["layer_norm"]), blocks(D, BLOCKS, zero_means=zero in ("outputs", "both"))
    h = draw(2, 4, D)
    states, hidden = run(stream, layers, centred(h) if zero in ("embedding", "both") else h)
    largest = []
    for connection, T, before, after in zip(stream.connections, bound(layers), states, states[1:], strict=False):
        f = T(before.x)
        H = hyper_connect(stream.streams(before), T, matrix(connection.norm, before.x, f))
        expected = (before.x + f).mean(-1) * one_over_sigma(connection.norm, before.x + f)
        excess = H[..., 0, :] - after.x
        torch.testing.assert_close(excess, expected.unsqueeze(-1).expand_as(excess), rtol=1e-11, atol=1e-14)
        torch.testing.assert_close(H[..., 1, :], after.r, rtol=1e-14, atol=1e-14)
        largest.append(excess.abs().max().item())
    x, r = states[-1]
    scale = one_over_sigma(stream.sum_norm, r)
    excess = x + scale.unsqueeze(-1) * r - hidden
    torch.testing.assert_close(excess, (r.mean(-1) * scale).unsqueeze(-1).expand_as(excess), rtol=1e-11, atol=1e-14)
    largest.append(excess.abs().max().item())
    exact = {"nothing": [], "outputs": range(1, len(KINDS)), "embedding": [], "both": range(len(KINDS) + 1)}[zero]
    assert [k for k, off in enumerate(largest) if off < 1e-14] == list(exact)
    assert all(off > 0.05 for k, off in enumerate(largest) if k not in exact)


@pytest.mark.parametrize("name", [name for name in EVERY_NORM if "weights" in name])
def test_a_norm_with_weights_has_no_coefficients(name):
    stream, h = ResiDual(D, KINDS, EVERY_NORM[name]), torch.randn(1, 2, D)
    state = stream.expand(h)
    with pytest.raises(ValueError, match=r"model\.norm_affine=true: .*no coefficient"):
        stream.connections[0].coefficients(state, h)
    with pytest.raises(ValueError, match=r"model\.norm_affine=true: .*no coefficient"):
        stream.reduce_weights(state)
