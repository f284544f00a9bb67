"""Post-Norm and ResiDual, which norm after the sublayer: how far Eq. 16, and the matrix that it makes, is the mode."""

import pytest
import torch
from torch import nn

from hcexp.residual import Coefficients, PostNorm, ResiDual, hyper_connect
from tests.residual.compare import assert_same, blocks, bound, centred, draw, run
from tests.residual.conftest import EVERY_NORM, NORMS, D, made

BLOCKS = 3
every_mode = pytest.mark.parametrize("mode", [PostNorm, ResiDual])


def eq_16(norm, h, output):
    """`1/√(σ_i² + σ_o² + 2σ_io + ε)`, (batch, seq): of the input and the output, about their means; about zero for
    RMSNorm."""
    if isinstance(norm, nn.LayerNorm):
        h, output = centred(h), centred(output)
    moment = {"i": (h * h).mean(-1), "o": (output * output).mean(-1), "io": (h * output).mean(-1)}
    return 1 / (moment["i"] + moment["o"] + 2 * moment["io"] + norm.eps).sqrt()


def matrix(mode, norm, h, output):
    """n = 1, A_m = 1, B = A_r = Eq. 16; of ResiDual A_m = (1, 0), B = (Eq. 16, 1), A_r = diag B."""
    scale, first = eq_16(norm, h, output), torch.tensor([1.0, 0.0]).double()
    if mode is PostNorm:
        return Coefficients(scale[..., None], first[:1], scale[..., None, None])
    B = torch.stack((scale, torch.ones_like(scale)), -1)
    return Coefficients(B, first, torch.diag_embed(B))


def reduce_weights(stream, H):
    """Of ResiDual's sum r: 1/σ of r alone, (batch, seq)."""
    return eq_16(stream.sum_norm, H[..., 1, :], torch.zeros_like(H[..., 1, :]))


def ended(stream, H):
    """`x`, and of ResiDual `x + r/σ`."""
    x = H[..., 0, :]
    return x if isinstance(stream, PostNorm) else x + reduce_weights(stream, H).unsqueeze(-1) * H[..., 1, :]


@torch.no_grad()
@every_mode
def test_states_its_matrix(mode, norm):
    """Whatever the means are: what the statement is worth with them is the matter of the tests below."""
    stream, layers, h = made(mode, norm, blocks=BLOCKS), blocks(D, BLOCKS), draw(2, 4, D)
    states, outputs = run(stream, layers, h)[0], []
    for connection, T, state in zip(stream.connections, bound(layers), states, strict=False):
        x = stream.streams(state)[..., 0, :]
        outputs.append(T(x))
        stated, written_out = connection.coefficients(state, T(x)), matrix(mode, connection.norm, x, T(x))
        for own, other in zip(stated, written_out, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-12, atol=0)
    if mode is ResiDual:
        H = stream.streams(states[-1])
        torch.testing.assert_close(H[..., 1, :], h + sum(outputs), rtol=1e-12, atol=1e-12)
        last = reduce_weights(stream, H)
        expected = torch.stack((torch.ones_like(last), last), -1).unsqueeze(-1)
        torch.testing.assert_close(stream.reduce_weights(states[-1]), expected, rtol=1e-12, atol=0)


@every_mode
@pytest.mark.parametrize("name, zero_means", [("rms_norm", False), ("rms_norm", True), ("layer_norm", True)])
def test_its_matrix_is_exact(mode, name, zero_means):
    """For RMSNorm as it is; for LayerNorm if embedding and outputs have zero mean. From embedding to output."""
    stream, layers = made(mode, NORMS[name], blocks=BLOCKS), blocks(D, BLOCKS, zero_means=zero_means)
    leaf = draw(2, 4, D)
    h = centred(leaf) if zero_means else leaf
    _, ours = run(stream, layers, h)
    H = torch.stack([h] * (1 if mode is PostNorm else 2), dim=-2)
    for connection, T in zip(stream.connections, bound(layers), strict=True):
        x = H[..., 0, :]
        H = hyper_connect(H, T, matrix(mode, connection.norm, x, T(x)))
    assert_same(ours, ended(stream, H), [leaf, *layers.parameters()])


@torch.no_grad()
@every_mode
@pytest.mark.parametrize("zero", ["nothing", "outputs", "embedding", "both"])
def test_its_matrix_is_off_by_the_mean_over_sigma(mode, zero):
    """LayerNorm subtracts the mean of h + T(h), which no coefficient can. In every component of the normed stream
    Eq. 16 is off by that mean over σ; the embedding's mean is gone after the first norm. ResiDual's sum is off by
    nothing, its output by r's mean over σ_r, in which the embedding's mean stays to the end."""
    stream = made(mode, NORMS["layer_norm"], blocks=BLOCKS)
    layers, h = blocks(D, BLOCKS, zero_means=zero in ("outputs", "both")), draw(2, 4, D)
    states, hidden = run(stream, layers, centred(h) if zero in ("embedding", "both") else h)
    states = [stream.streams(state) for state in states]
    off = []
    for connection, T, before, after in zip(stream.connections, bound(layers), states, states[1:], strict=False):
        x, norm = before[..., 0, :], connection.norm
        excess = hyper_connect(before, T, matrix(mode, norm, x, T(x))) - after
        off.append((excess[..., 0, :], (x + T(x)).mean(-1) * eq_16(norm, x, T(x))))
        torch.testing.assert_close(excess[..., 1:, :], torch.zeros_like(excess[..., 1:, :]), rtol=0, atol=1e-14)
    if mode is ResiDual:
        r = states[-1][..., 1, :]
        off.append((ended(stream, states[-1]) - hidden, r.mean(-1) * reduce_weights(stream, states[-1])))
    for excess, expected in off:
        torch.testing.assert_close(excess, expected.unsqueeze(-1).expand_as(excess), rtol=1e-11, atol=1e-14)
    exact = {"outputs": range(1, 2 * BLOCKS), "both": range(len(off))}.get(zero, ())
    for k, (excess, _) in enumerate(off):
        assert excess.abs().max() < 1e-14 if k in exact else excess.abs().max() > 0.05


@pytest.mark.parametrize("name", [name for name in EVERY_NORM if "weights" in name])
def test_a_norm_with_weights_has_no_coefficients(name):
    for mode in (PostNorm, ResiDual):
        stream, h = made(mode, EVERY_NORM[name]), draw(1, 2, D)
        with pytest.raises(ValueError, match=r"model\.norm_affine=true: .*no coefficient"):
            stream.connections[0].coefficients(stream.expand(h), h)
    with pytest.raises(ValueError, match=r"model\.norm_affine=true: .*no coefficient"):
        stream.reduce_weights(stream.expand(h))
