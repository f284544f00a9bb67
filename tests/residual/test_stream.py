"""What every registered mode must hold to."""

import pytest
import torch
from torch import nn

from hcexp.residual import PreNorm, hyper_connect
from tests.registered import MODES, residual
from tests.residual.compare import blocks, bound, centred, draw, run
from tests.residual.conftest import D, made


def carried(setting, norm, *, seq=5):
    """A perturbed stream, sublayers and an embedding: for LayerNorm of zero mean, which makes it the scaling that the
    coefficients state."""
    stream, centre = made(setting, norm), isinstance(norm(D), nn.LayerNorm)
    h = draw(2, seq, stream.embedding_dim)
    slices = h.unflatten(-1, (-1, D))
    return stream, blocks(D, 2, zero_means=centre), h, (centred(slices) if centre else slices).flatten(-2)


def test_own_code_equals_the_plain_operator(setting, norm):
    """Forward and gradient, with every parameter perturbed, after every connection (Eq. 2)."""
    stream, layers, leaf, h = carried(setting, norm)
    state = stream.expand(h)
    for connection, T in zip(stream.connections, bound(layers), strict=True):
        outputs = []
        after = connection(state, lambda x, T=T, outputs=outputs: outputs.append(T(x)) or outputs[-1])
        plain = hyper_connect(
            stream.streams(state),
            lambda x, T=T, connection=connection: T(connection.normed(x)),
            connection.coefficients(state, outputs[0]),
        )
        own = stream.streams(after)
        torch.testing.assert_close(own, plain, rtol=1e-11, atol=1e-11)
        weight = torch.randn(own.shape, generator=torch.Generator().manual_seed(1)).double()
        leaves = [leaf, *(p for p in (*stream.parameters(), *layers.parameters()) if p.requires_grad)]
        gradients = [
            torch.autograd.grad((H * weight).sum(), leaves, retain_graph=True, materialize_grads=True)
            for H in (own, plain)
        ]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        state = after


def test_expand_and_reduce_follow_their_weights(setting, norm):
    for seq in (1, 5):
        stream, layers, _, h = carried(setting, norm, seq=seq)
        states, reduced = run(stream, layers, h)
        slices = h.unflatten(-1, (-1, D))
        torch.testing.assert_close(stream.streams(states[0]), stream.expand_weights().double().mT @ slices)
        hidden = (stream.reduce_weights(states[-1]).double().mT @ stream.streams(states[-1])).flatten(-2)
        torch.testing.assert_close(reduced, stream.norm(hidden), rtol=1e-11, atol=1e-11)
        assert reduced.shape == (2, seq, stream.output_dim)


def test_parameters_can_be_set_after_the_meta_device(setting, norm):
    with torch.device("meta"):
        empty = made(setting, norm, perturbed=False)
    filled = empty.to_empty(device="cpu")
    for parameter in filled.parameters():
        parameter.data.fill_(float("nan"))
    torch.manual_seed(0)
    filled.reset_parameters()
    torch.manual_seed(0)
    expected = dict(made(setting, norm, perturbed=False).named_parameters())
    for name, parameter in filled.named_parameters():
        if ".norm." not in name:  # those are set with the network's other norms
            torch.testing.assert_close(parameter, expected[name])
    assert {id(p) for p in filled.undecayed()} <= {id(p) for p in filled.parameters()}


@pytest.mark.parametrize("n", [0, -1, True, 1.5, 2.0, 1025, 10**30])
def test_a_rate_that_no_stream_can_have_is_named(n, norm):
    modes = [residual(f"residual={mode}") for mode in MODES]
    for mode in (mode for mode in modes if "n" in mode.keywords):
        with pytest.raises(ValueError, match=f"^residual.n={n} is the expansion rate: .* whole number from 1 to 1024$"):
            made(mode, norm, n=n)


def test_what_derives_from_pre_norm_is_not_plain(norm):
    """An export as another library's pre-norm transformer would silently leave out what it adds."""

    class Derived(PreNorm):
        pass

    assert made(PreNorm, norm).plain and not made(Derived, norm).plain
    assert [mode for mode in MODES if made(residual(f"residual={mode}"), norm).plain] == ["pre_norm"]
