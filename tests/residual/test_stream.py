"""What every registered mode must hold to."""

import pytest
import torch

from hcexp.residual import hyper_connect
from tests.residual.conftest import KINDS, stream_of, sublayers

D = 6


def test_own_code_equals_the_plain_operator(setting, norm):
    """Forward and gradient, with every parameter perturbed, connection by connection (Eq. 2)."""
    stream = stream_of(setting, D, norm, perturbed=True)
    h = torch.randn(2, 5, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    fast = slow = stream.expand(h)
    for connection, sublayer in zip(stream.connections, sublayers(D), strict=True):
        outputs = []

        def kept(x, sublayer=sublayer, outputs=outputs):
            outputs.append(sublayer(x))
            return outputs[-1]

        fast = connection(fast, kept)
        coefficients = connection.coefficients(slow, outputs[0])
        streams = slow if slow.dim() == 4 else slow.unsqueeze(-2)
        slow = hyper_connect(streams, lambda x, c=connection, s=sublayer: s(c.norm(x)), coefficients).reshape(
            slow.shape
        )
        torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-11)
    leaves = [h, *(p for p in stream.parameters() if p.requires_grad)]
    weight = torch.randn(fast.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    own = torch.autograd.grad((fast * weight).sum(), leaves, allow_unused=True)
    plain = torch.autograd.grad((slow * weight).sum(), leaves, allow_unused=True)
    for a, b in zip(own, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_expand_and_reduce_follow_their_weights(setting, norm):
    stream = stream_of(setting, D, norm, perturbed=True)
    h = torch.randn(1, 2, D, dtype=torch.float64)
    state = stream.expand(h)
    streams = state if state.dim() == 4 else state.unsqueeze(-2)
    expanded = stream.expand_weights().double()[:, None] * h.unsqueeze(-2)
    torch.testing.assert_close(streams, expanded)
    moved = state + torch.randn(state.shape, dtype=torch.float64)
    streams = moved if moved.dim() == 4 else moved.unsqueeze(-2)
    hidden = (stream.reduce_weights().double()[:, None] * streams).sum(-2)
    torch.testing.assert_close(stream.reduce(moved), stream.norm(hidden))


def test_parameters_can_be_set_after_the_meta_device(setting, norm):
    with torch.device("meta"):
        empty = stream_of(setting, D, norm, perturbed=False)
    filled = empty.to_empty(device="cpu")
    for parameter in filled.parameters():
        parameter.data.fill_(float("nan"))
    filled.reset_parameters()
    expected = dict(stream_of(setting, D, norm, perturbed=False).named_parameters())
    for name, parameter in filled.named_parameters():
        if ".norm." not in name:  # those are set with the network's other norms
            torch.testing.assert_close(parameter, expected[name])


def test_undecayed_parameters_are_the_modes_own(setting, norm):
    stream = stream_of(setting, D, norm, perturbed=False)
    own = {id(p) for p in stream.parameters()}
    assert {id(p) for p in stream.undecayed()} <= own


@pytest.mark.parametrize("seq", [1, 7])
def test_any_length(setting, norm, seq):
    stream = stream_of(setting, D, norm, perturbed=True)
    state = stream.expand(torch.randn(1, seq, D, dtype=torch.float64))
    for connection, sublayer in zip(stream.connections, sublayers(D), strict=True):
        state = connection(state, sublayer)
    assert stream.reduce(state).shape == (1, seq, stream.output_dim)
    assert len(stream.connections) == len(KINDS)
