"""What every registered mode must hold to."""

import pytest
import torch
from torch import nn

from hcexp.residual import PreNorm, hyper_connect
from tests.registered import MODES, has_rate, residual
from tests.residual.conftest import KINDS, Centred, stream_of, sublayers

D = 6


def embedding(stream, *, seq=5):
    shape = (2, seq, stream.embedding_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()


def centre(h):
    """Zero mean in every slice of width D."""
    return Centred()(h.unflatten(-1, (-1, D))).flatten(-2)


def gradients(tensor, leaves):
    weight = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)).double()
    return torch.autograd.grad((tensor * weight).sum(), leaves, retain_graph=True, materialize_grads=True)


def test_own_code_equals_the_plain_operator(setting, norm):
    """Forward and gradient, with every parameter perturbed, after every connection (Eq. 2)."""
    centred = isinstance(norm(D), nn.LayerNorm)
    stream = stream_of(setting, D, norm, perturbed=True)
    h = embedding(stream)
    layers = sublayers(D, centred=centred)
    leaves = [h, *(p for p in (*stream.parameters(), *nn.ModuleList(layers).parameters()) if p.requires_grad)]
    state = stream.expand(centre(h) if centred else h)
    for connection, layer in zip(stream.connections, layers, strict=True):
        outputs = []

        def kept(x, layer=layer, outputs=outputs):
            outputs.append(layer(x))
            return outputs[-1]

        after = connection(state, kept)
        coefficients = connection.coefficients(state, outputs[0])
        plain = hyper_connect(
            stream.streams(state), lambda x, c=connection, layer=layer: layer(c.normed(x)), coefficients
        )
        own = stream.streams(after)
        torch.testing.assert_close(own, plain, rtol=1e-11, atol=1e-11)
        for a, b in zip(gradients(own, leaves), gradients(plain, leaves), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        state = after


def test_expand_and_reduce_follow_their_weights(setting, norm):
    centred = isinstance(norm(D), nn.LayerNorm)
    stream = stream_of(setting, D, norm, perturbed=True)
    h = embedding(stream)
    h = centre(h) if centred else h
    state = stream.expand(h)
    slices = h.unflatten(-1, (-1, D))
    torch.testing.assert_close(stream.streams(state), stream.expand_weights().double().mT @ slices)
    for connection, layer in zip(stream.connections, sublayers(D, centred=centred), strict=True):
        state = connection(state, layer)
    hidden = (stream.reduce_weights(state).double().mT @ stream.streams(state)).flatten(-2)
    torch.testing.assert_close(stream.reduce(state), stream.norm(hidden), rtol=1e-11, atol=1e-11)
    assert hidden.shape[-1] == stream.output_dim


def test_parameters_can_be_set_after_the_meta_device(setting, norm):
    with torch.device("meta"):
        empty = stream_of(setting, D, norm, perturbed=False)
    filled = empty.to_empty(device="cpu")
    for parameter in filled.parameters():
        parameter.data.fill_(float("nan"))
    torch.manual_seed(0)
    filled.reset_parameters()
    torch.manual_seed(0)
    expected = dict(stream_of(setting, D, norm, perturbed=False).named_parameters())
    for name, parameter in filled.named_parameters():
        if ".norm." not in name:  # those are set with the network's other norms
            torch.testing.assert_close(parameter, expected[name])


def test_undecayed_parameters_are_the_modes_own(setting, norm):
    stream = stream_of(setting, D, norm, perturbed=False)
    own = {id(p) for p in stream.parameters()}
    assert {id(p) for p in stream.undecayed()} <= own


@pytest.mark.parametrize("n", [0, -1, True, 2.0, 1025, 10**6, 10**30])
def test_a_rate_that_no_stream_can_have_is_named(n, norm):
    for mode in filter(has_rate, MODES):
        with pytest.raises(ValueError, match=f"^residual.n={n} is the expansion rate: .* whole number from 1 to 1024$"):
            residual(f"residual={mode}")(D, KINDS, norm, n=n)


@pytest.mark.parametrize("seq", [1, 7])
def test_any_length(setting, norm, seq):
    stream = stream_of(setting, D, norm, perturbed=True)
    state = stream.expand(embedding(stream, seq=seq))
    for connection, layer in zip(stream.connections, sublayers(D), strict=True):
        state = connection(state, layer)
    assert stream.reduce(state).shape == (2, seq, stream.output_dim)
    assert len(stream.connections) == len(KINDS)


def test_what_derives_from_pre_norm_is_not_plain(norm):
    """An export as another library's pre-norm transformer would silently leave out what it adds."""

    class Derived(PreNorm):
        pass

    assert PreNorm(D, KINDS, norm).plain and not Derived(D, KINDS, norm).plain
    assert [mode for mode in MODES if residual(f"residual={mode}")(D, KINDS, norm).plain] == ["pre_norm"]
