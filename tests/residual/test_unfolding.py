"""The unfolding, by hand and for every mode."""

import pytest
import torch

from hcexp.residual import Coefficients
from hcexp.residual.operator import read
from hcexp.residual.unfolding import unfold
from tests.residual.compare import bound
from tests.residual.conftest import D
from tests.residual.test_stream import carried


@torch.no_grad()
def test_inputs_are_the_weighted_sums_of_all_outputs_before(setting, norm):
    """`h_k = Σ_j c_kj T_j` (Eq. 20), the hidden vector in the end, and each stream on its way (Eq. 29)."""
    stream, layers, _, h = carried(setting, norm)
    states, given, outputs, coefficients = [stream.expand(h)], [], [], []
    for connection, T in zip(stream.connections, bound(layers), strict=True):
        states.append(connection(states[-1], lambda x, T=T: given.append(x) or outputs.append(T(x)) or outputs[-1]))
        coefficients.append(connection.coefficients(states[-2], outputs[-1]))

    C_0, C, channels = unfold(stream.expand_weights(), coefficients, stream.reduce_weights(states[-1]))
    T = torch.cat((h.unflatten(-1, (-1, D)), torch.stack(outputs, dim=-2)), dim=-2)  # (batch, seq, slices + L, d)
    inputs, L, slices = C_0 @ T, len(layers), stream.embedding_dim // D
    if channels is not None:
        torch.testing.assert_close(C_0[..., :L, :], channels.mean(dim=-2))
        inputs[..., :L, :] = torch.einsum("...kdj,...jd->...kd", channels, T)
    for k, connection in enumerate(stream.connections):
        x = inputs[..., k, :]
        torch.testing.assert_close(x, read(stream.streams(states[k]), coefficients[k].A_m), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(connection.normed(x), given[k], rtol=1e-9, atol=1e-9)
        passing = torch.einsum("...ij,...jd->...id", C[..., k, :], T)
        written = coefficients[k].B.unsqueeze(-1) * outputs[k].unsqueeze(-2)
        after, n = stream.streams(states[k + 1]), written.shape[-2]
        torch.testing.assert_close(passing[..., :n, :] + written, after, rtol=1e-10, atol=1e-10)
        assert not passing[..., n:, :].any()
        # No output counts before it is made.
        assert not C_0[..., k, slices + k :].any() and not C[..., k, slices + k :].any()
    hidden = inputs[..., L:, :].flatten(-2)
    torch.testing.assert_close(stream.norm(hidden), stream.reduce(states[-1]), rtol=1e-9, atol=1e-9)


def test_by_hand():
    """Two streams and two sublayers: c_kj = B_j A_r^{j+1} … A_r^{k-1} A_m^k, written out."""
    B1, B2 = torch.tensor([2.0, 3.0]), torch.tensor([5.0, 7.0])
    m1, m2 = torch.tensor([1.0, -1.0]), torch.tensor([4.0, 0.5])
    r1, r2 = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [3.0, 1.0]])
    start, end = torch.tensor([[1.0, 10.0]]), torch.tensor([[1.0], [1.0]])
    C_0, C, _ = unfold(start, [Coefficients(B1, m1, r1), Coefficients(B2, m2, r2)], end)
    expected = torch.zeros(3, 3)
    expected[0, 0] = start[0] @ m1
    expected[1, 0], expected[1, 1] = start[0] @ r1 @ m2, B1 @ m2
    expected[2] = torch.stack([(start[0] @ r1 @ r2).sum(), (B1 @ r2).sum(), B2.sum()])
    torch.testing.assert_close(C_0, expected)
    for i in range(2):
        torch.testing.assert_close(C[i, 0], torch.stack([start[0] @ r1[:, i], *torch.zeros(2)]))
        torch.testing.assert_close(C[i, 1], torch.stack([start[0] @ r1 @ r2[:, i], B1 @ r2[:, i], torch.tensor(0.0)]))


@pytest.mark.parametrize("tokens", [(), (2, 3)])
def test_coefficients_with_and_without_tokens_go_together(tokens):
    torch.manual_seed(0)
    static = Coefficients(torch.randn(2), torch.randn(2), torch.randn(2, 2))
    dynamic = Coefficients(torch.randn(*tokens, 2), torch.randn(2), torch.randn(*tokens, 2, 2))
    C_0, C, _ = unfold(torch.ones(1, 2), [static, dynamic, static], torch.ones(2, 1))
    assert C_0.shape == (*tokens, 4, 4) and C.shape == (*tokens, 2, 3, 4)
    if tokens:
        one = Coefficients(dynamic.B[1, 2], dynamic.A_m, dynamic.A_r[1, 2])
        alone, *_ = unfold(torch.ones(1, 2), [static, one, static], torch.ones(2, 1))
        torch.testing.assert_close(C_0[1, 2], alone)


def test_half_precision_is_unfolded_in_float32():
    half = Coefficients(torch.ones(1), torch.ones(1), torch.full((1, 1), 0.999))
    half = Coefficients(*(weights.bfloat16() for weights in half))
    wide = Coefficients(*(weights.float() for weights in half))
    with torch.autocast("cpu", torch.bfloat16):
        C_0, *_ = unfold(torch.ones(1, 1), [half] * 9, torch.ones(1, 1).bfloat16())
    expected, *_ = unfold(torch.ones(1, 1), [wide] * 9, torch.ones(1, 1))
    assert C_0.dtype == torch.float32 and torch.equal(C_0, expected)
