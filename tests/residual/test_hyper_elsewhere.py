"""SHC and DHC against `HyperConnections` of the PyPI package `hyper-connections` (P. Wang), version 0.4.11.

Its equations are ours: alpha = s · act(norm(H) W) + A with A_m before A_r and stream i's row from stream i alone,
beta alike, `alphaᵀ H`, then `H' + beta T`; so is its initial state. It differs in

- layout: streams are in the batch axis, (batch · n, seq, d), all streams of a batch element together;
- the norm on H: RMSNorm with weights, stored as what they are more than 1, and without an ε in the root. The paper
  uses the model's norm, here without weights;
- the first read: of stream `layer_index mod n` as ours, but of a random stream where no index is given;
- n = 1: `get_init_and_expand_reduce_stream_functions` makes a plain residual of it, where the paper trains DHC×1;
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
from tests.residual.compare import assert_same, blocks, bound, draw, run
from tests.residual.conftest import NORMS, D, made

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

    return [HyperConnections(n, dim=D, layer_index=k, **options).double() for k in range(4)]


def in_batch(H):
    """(batch, seq, n, d) as it has it, (batch · n, seq, d)."""
    return H.movedim(-2, 1).flatten(0, 1)


def assert_agree(ours, theirs, norm, n, names, more=()):
    """With our parameters in theirs: every state, the end, and the gradients to the embedding, the sublayers and the
    connections' parameters. `more` are further pairs of parameters, one a connection."""
    from hyper_connections import get_expand_reduce_stream_functions

    pairs = [
        (getattr(own.weights, name), getattr(connection, other))
        for connection, own in zip(theirs, ours.connections, strict=True)
        for name, other in names.items()
    ]
    with torch.no_grad():
        for value, target in pairs:
            assert target.numel() == value.numel() and (target.shape == value.shape or value.shape == (1,))
            target.copy_(value.view_as(target))
    layers, h, normed = blocks(D, 2), draw(2, 3, D), reference.as_written(norm(D))
    states, hidden = run(ours, layers, h)
    expand, reduce = get_expand_reduce_stream_functions(n)
    others = [expand(h)]
    for connection, T in zip(theirs, bound(layers), strict=True):
        x, add_output = connection(others[-1])
        others.append(add_output(T(normed(x))))
    for H, other in zip(states, others, strict=True):
        torch.testing.assert_close(in_batch(H), other, rtol=1e-11, atol=1e-11)
    shared = [h, *layers.parameters()]
    own, their = zip(*pairs, *more, strict=True)
    assert_same(hidden, normed(reduce(others[-1])), [*shared, *own], [*shared, *their])


@every_n
@pytest.mark.parametrize("tanh", [True, False])
def test_dynamic(n, tanh, norm):
    """With its own norm on H, which is ours with weights and without ε; then with the model's norm in its place, as
    the paper has it."""
    ours = made(DynamicHyperConnections, NO_EPS, n=n, tanh=tanh, norm_affine=True)
    theirs = elsewhere(n, tanh=tanh)
    norms = [(own.weights.norm.weight, other.norm.gamma) for own, other in zip(ours.connections, theirs, strict=True)]
    with torch.no_grad():
        for weight, gamma in norms:
            gamma.copy_(weight - 1)
    assert_agree(ours, theirs, NO_EPS, n, DYNAMIC, norms)
    for connection in theirs:
        connection.norm = norm(D)
    assert_agree(made(DynamicHyperConnections, norm, n=n, tanh=tanh), theirs, norm, n, DYNAMIC)


@every_n
def test_static(n, norm):
    """Its projections are zero: tanh(0) = 0."""
    theirs = elsewhere(n)
    assert all(not c.dynamic_alpha_fn.any() and not c.dynamic_beta_fn.any() for c in theirs)
    assert_agree(made(StaticHyperConnections, norm, n=n), theirs, norm, n, STATIC)


@every_n
def test_initial_values_are_the_same(n, norm):
    ours = made(DynamicHyperConnections, norm, n=n, perturbed=False)
    for own, other in zip(ours.connections, elsewhere(n), strict=True):
        for name, its in DYNAMIC.items():
            value, expected = getattr(own.weights, name).flatten(), getattr(other, its).flatten()
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-8)  # its 0.01 was rounded to float32
        assert {name for name, _ in other.named_parameters()} == {*DYNAMIC.values(), "norm.gamma"}
        assert not other.norm.gamma.any()


@torch.no_grad()
def test_the_norm_on_H_has_no_epsilon():
    """One ε of 1e-6 is seen where |H| is small, and no more than that."""
    theirs, small = elsewhere(2)[0].norm, 1e-3 * draw(2, 5, D)
    torch.testing.assert_close(theirs(small), NO_EPS(D)(small), rtol=1e-12, atol=0)
    with_eps = NORMS["rms_norm"](D)(small)
    assert (theirs(small) / with_eps - 1).abs().min() > 0.05
    factor = (1 + 1e-6 / small.square().mean(-1, keepdim=True)).sqrt()
    torch.testing.assert_close(theirs(small), with_eps * factor, rtol=1e-12, atol=0)


def test_the_first_read_is_random_without_an_index_and_one_stream_a_plain_residual_by_default():
    from hyper_connections import HyperConnections, Residual, get_init_and_expand_reduce_stream_functions

    random.seed(0)
    reads = {HyperConnections(4, dim=D).static_alpha[:, 0].argmax().item() for _ in range(50)}
    assert reads == {0, 1, 2, 3}
    assert isinstance(get_init_and_expand_reduce_stream_functions(1)[0](dim=D), Residual)


@torch.no_grad()
def test_autocast_rounds_its_streams_and_not_ours(norm):
    """With silent sublayers the state of the beginning should stay, float32 as pre-norm's stream: mixing in bfloat16
    would make the comparison unfair."""
    h = draw(1, 5, D).float()
    theirs, ours = elsewhere(2)[0].float(), made(DynamicHyperConnections, norm, n=2, perturbed=False).float()
    with torch.autocast("cpu", torch.bfloat16):
        x, add_output = theirs(h.repeat_interleave(2, dim=0))
        after_theirs = add_output(torch.zeros_like(x)).float()
        after_ours = ours.expand(h)
        for connection in ours.connections:
            after_ours = connection(after_ours, torch.zeros_like)
    assert torch.equal(after_ours, ours.expand(h)) and after_ours.dtype == torch.float32
    assert torch.equal(after_theirs, h.repeat_interleave(2, dim=0).bfloat16().float())
    assert not torch.equal(after_theirs, h.repeat_interleave(2, dim=0))
