"""SHC and DHC against `HyperConnections` of the PyPI package `hyper-connections` (P. Wang), version 0.4.11.

Its equations are ours: alpha = s · act(norm(H) W) + A with A_m before A_r and stream i's row from stream i alone,
beta alike, `alphaᵀ H`, then `H' + beta T`; so is its initial state. It differs in

- layout: streams are in the batch axis, (batch · n, seq, d), all streams of a batch element together;
- the norm on H: RMSNorm with weights, stored as what they are more than 1, and without an ε in the root. The paper
  uses the model's norm, here without weights;
- the first read: of stream `layer_index mod n` as ours, but of a random stream where no index is given;
- n = 1: `get_init_and_expand_reduce_stream_functions` makes a plain residual of it, unless told not to, where the
  paper trains DHC×1;
- static connections: there are none; here its dynamic projections are zero and not trained;
- the sublayer's own norm, the network's final norm and the initial scale of the output projections: left to the user;
- precision: it mixes in whatever precision autocast chooses; ours keeps float32.

It has beyond ours, all off by default: fractions, several views, channels first, dropout, no depth connection.
"""

import random
from functools import partial

import pytest
import torch
from torch import nn

from hcexp.residual import DynamicHyperConnections, StaticHyperConnections
from tests.residual import reference
from tests.residual.compare import blocks, bound, draw, run
from tests.residual.conftest import NORMS, perturb

D, BLOCKS = 6, 2
KINDS = ("attention", "feed_forward") * BLOCKS
NO_EPS = partial(nn.RMSNorm, eps=0.0, elementwise_affine=False)
every_n = pytest.mark.parametrize("n", [1, 2, 3, 4])

# Our parameters of a connection in its names; its scales are numbers, ours vectors of length 1.
STATIC = {"A": "static_alpha", "B": "static_beta"}
DYNAMIC = STATIC | {
    "W_alpha": "dynamic_alpha_fn",
    "W_beta": "dynamic_beta_fn",
    "s_alpha": "dynamic_alpha_scale",
    "s_beta": "dynamic_beta_scale",
}


def elsewhere(n, **options):
    from hyper_connections import HyperConnections

    return [HyperConnections(n, dim=D, layer_index=k, **options).double() for k in range(len(KINDS))]


def here(make, norm, n, *, perturbed=True, **options):
    stream = make(D, KINDS, norm, n=n, **options).double()
    stream.reset_parameters()
    if perturbed:
        perturb(stream)
    return stream


def in_batch(H):
    """(batch, seq, n, d) as it has it, (batch · n, seq, d)."""
    return H.movedim(-2, 1).flatten(0, 1)


def run_elsewhere(connections, sublayers, norm, h, n):
    """Every state, and the summed streams after the final norm."""
    from hyper_connections import get_expand_reduce_stream_functions

    expand, reduce = get_expand_reduce_stream_functions(n)
    states = [expand(h)]
    for connection, T in zip(connections, sublayers, strict=True):
        x, add_output = connection(states[-1])
        states.append(add_output(T(norm(x))))
    return states, norm(reduce(states[-1]))


@torch.no_grad()
def load(theirs, ours, names):
    for connection, own in zip(theirs, ours.connections, strict=True):
        for name, other in names.items():
            target, value = getattr(connection, other), getattr(own.weights, name)
            assert target.numel() == value.numel() and (target.shape == value.shape or value.shape == (1,))
            target.copy_(value.view_as(target))


def assert_agree(ours, theirs, norm, h, n, names, more=()):
    """Every state, the end, and the gradients to the embedding, the sublayers and the connections' parameters.

    `more` are further pairs of parameters, one a connection.
    """
    layers = blocks(D, BLOCKS)
    states, hidden = run(ours, layers, h)
    others, hidden_elsewhere = run_elsewhere(theirs, bound(layers), reference.as_written(norm(D)), h, n)
    for H, other in zip(states, others, strict=True):
        torch.testing.assert_close(in_batch(H), other, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(hidden, hidden_elsewhere, rtol=1e-11, atol=1e-11)
    pairs = [(p, p) for p in (h, *layers.parameters())]
    for connection, own in zip(theirs, ours.connections, strict=True):
        pairs += [(getattr(own.weights, name), getattr(connection, other)) for name, other in names.items()]
    pairs += more
    weight = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = [
        torch.autograd.grad((end * weight).sum(), leaves)
        for end, leaves in zip((hidden, hidden_elsewhere), zip(*pairs, strict=True), strict=True)
    ]
    for own, other in zip(*gradients, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(own.view_as(other), other, rtol=1e-9, atol=1e-9)


@every_n
@pytest.mark.parametrize("tanh", [True, False])
def test_dynamic(n, tanh):
    """With its own norm on H, which is ours with weights and without ε."""
    ours = here(DynamicHyperConnections, NO_EPS, n, tanh=tanh, norm_affine=True)
    theirs = elsewhere(n, tanh=tanh)
    load(theirs, ours, DYNAMIC)
    with torch.no_grad():
        for connection, own in zip(theirs, ours.connections, strict=True):
            connection.norm.gamma.copy_(own.weights.norm.weight - 1)
    weights = [(own.weights.norm.weight, other.norm.gamma) for own, other in zip(ours.connections, theirs, strict=True)]
    assert_agree(ours, theirs, NO_EPS, draw(2, 3, D), n, DYNAMIC, weights)


@every_n
@pytest.mark.parametrize("tanh", [True, False])
def test_dynamic_with_the_models_norm(n, tanh, norm):
    """Put into it in place of its own, as the paper has it."""
    ours, theirs = here(DynamicHyperConnections, norm, n, tanh=tanh), elsewhere(n, tanh=tanh)
    load(theirs, ours, DYNAMIC)
    for connection in theirs:
        connection.norm = norm(D)
    assert_agree(ours, theirs, norm, draw(2, 3, D), n, DYNAMIC)


@every_n
def test_static(n, norm):
    """Its projections are zero: tanh(0) = 0."""
    ours, theirs = here(StaticHyperConnections, norm, n), elsewhere(n)
    load(theirs, ours, STATIC)
    assert all(not c.dynamic_alpha_fn.any() and not c.dynamic_beta_fn.any() for c in theirs)
    assert_agree(ours, theirs, norm, draw(2, 3, D), n, STATIC)


@every_n
def test_initial_values_are_the_same(n, norm):
    ours = here(DynamicHyperConnections, norm, n, perturbed=False)
    for own, other in zip(ours.connections, elsewhere(n), strict=True):
        for name, its in DYNAMIC.items():
            torch.testing.assert_close(
                getattr(own.weights, name).flatten(), getattr(other, its).flatten(), rtol=0, atol=1e-8
            )  # its 0.01 was rounded to float32
        assert {name for name, _ in other.named_parameters()} == {*DYNAMIC.values(), "norm.gamma"}
        assert not other.norm.gamma.any()


def test_expand_and_reduce():
    """A batch element's streams lie together, and both sum them at the end; the norm there is the user's."""
    from hyper_connections import get_expand_reduce_stream_functions

    expand, reduce = get_expand_reduce_stream_functions(3)
    h, H = draw(2, 5, D), draw(2, 5, 3, D)
    stream = here(StaticHyperConnections, NORMS["layer_norm"], 3)
    assert torch.equal(in_batch(stream.expand(h)), expand(h))
    torch.testing.assert_close(reduce(in_batch(H)), H.sum(-2), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(stream.norm(reduce(in_batch(H))), stream.reduce(H), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_the_norm_on_H_has_no_epsilon():
    """One ε of 1e-6 is seen where |H| is small, and no more than that."""
    theirs, small = elsewhere(2)[0].norm, 1e-3 * draw(2, 5, D)
    torch.testing.assert_close(theirs(small), NO_EPS(D)(small), rtol=1e-12, atol=0)
    with_eps = NORMS["rms_norm"](D)(small)
    assert (theirs(small) / with_eps - 1).abs().min() > 0.05
    factor = (1 + 1e-6 / small.square().mean(-1, keepdim=True)).sqrt()
    torch.testing.assert_close(theirs(small), with_eps * factor, rtol=1e-12, atol=0)
    theirs.gamma.fill_(0.5)
    torch.testing.assert_close(theirs(small), 1.5 * NO_EPS(D)(small), rtol=1e-12, atol=0)


def test_the_first_read_is_random_without_an_index():
    from hyper_connections import HyperConnections

    random.seed(0)
    reads = {HyperConnections(4, dim=D).static_alpha[:, 0].argmax().item() for _ in range(50)}
    assert reads == {0, 1, 2, 3}
    with_index = [HyperConnections(3, dim=D, layer_index=k).static_alpha[:, 0].argmax().item() for k in range(7)]
    assert with_index == [0, 1, 2, 0, 1, 2, 0]


def test_one_stream_is_a_plain_residual_by_default():
    from hyper_connections import HyperConnections, Residual, get_init_and_expand_reduce_stream_functions

    assert isinstance(get_init_and_expand_reduce_stream_functions(1)[0](dim=D), Residual)
    assert isinstance(get_init_and_expand_reduce_stream_functions(1, disable=False)[0](dim=D), HyperConnections)
    assert isinstance(get_init_and_expand_reduce_stream_functions(2)[0](dim=D), HyperConnections)


@torch.no_grad()
def test_autocast_rounds_its_streams_and_not_ours(norm):
    """With silent sublayers the state of the beginning should stay."""
    h = draw(1, 5, D).float()
    theirs = elsewhere(2)[0].float()
    with torch.autocast("cpu", torch.bfloat16):
        x, add_output = theirs(h.repeat_interleave(2, dim=0))
        after_theirs = add_output(torch.zeros_like(x))
        ours = here(DynamicHyperConnections, norm, 2, perturbed=False).float()
        after_ours = ours.connections[0](ours.expand(h), torch.zeros_like)
    assert torch.equal(after_ours, ours.expand(h))
    rounded = h.repeat_interleave(2, dim=0).bfloat16().float()
    torch.testing.assert_close(after_theirs.float(), rounded, rtol=0, atol=0)
    assert not torch.equal(after_theirs.float(), h.repeat_interleave(2, dim=0))
