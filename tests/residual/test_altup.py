"""AltUp: its definition in every form, its matrices, and pre-norm at the start."""

from itertools import product

import pytest
import torch

from hcexp.residual import AltUp, hyper_connect
from tests.residual import reference
from tests.residual.compare import EVERY_NORM, assert_same, blocks, bound, draw, run, whole
from tests.residual.conftest import NORMS, perturb

D = 4
BLOCKS = 5  # one more than streams: the active one comes round again for every n here
KINDS = ("attention", "feed_forward") * BLOCKS
FORMS = [
    {"active": active, "embedding": embedding, "per": per}
    for active, embedding, per in product(("alternating", "fixed"), ("recycled", "widened"), ("block", "sublayer"))
]
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: ",".join(form.values()))
every_n = pytest.mark.parametrize("n", [1, 2, 3, 4])


def altup(norm, *, kinds=KINDS, perturbed=True, **knobs):
    stream = AltUp(D, kinds, norm, **knobs).double()
    stream.reset_parameters()
    if perturbed:
        perturb(stream)
    return stream


def literal(stream, layers, h, *, active, embedding, per):
    """The streams in the end, as a list; the streams' own embeddings are slices of h, or all of them h."""
    n = stream.n
    sublayers = list(zip(bound(layers), [reference.as_written(c.norm) for c in stream.connections], strict=True))
    size = {"block": 2, "sublayer": 1}[per]
    grouped = [sublayers[i : i + size] for i in range(0, len(sublayers), size)]
    stars = [number % n if active == "alternating" else 0 for number in range(len(grouped))]
    corrections = [c.correction for c in stream.connections[size - 1 :: size]]
    start = list(h.split(D, dim=-1)) if embedding == "widened" else [h] * n
    return reference.altup(start, grouped, stars, [c.P for c in corrections], [c.g for c in corrections])


@every_form
@every_n
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm with weights"])
def test_equals_its_definition(name, n, form):
    stream = altup(EVERY_NORM[name], n=n, **form)
    layers, h = blocks(D, BLOCKS), draw(2, 3, stream.embedding_dim)
    _, ours = run(stream, layers, h)
    streams = literal(stream, layers, h, **form)
    end = sum(streams) if form["embedding"] == "recycled" else torch.cat(streams, dim=-1)
    theirs = reference.as_written(stream.norm)(end)
    assert ours.shape == (2, 3, D if form["embedding"] == "recycled" else n * D)
    assert_same(ours, theirs, [h, *stream.parameters(), *layers.parameters()])


@torch.no_grad()
@every_form
@every_n
def test_starts_as_pre_norm_in_every_stream(n, form, norm):
    """P = I and g = 1, between layers and within them; all the streams of a widened embedding alike."""
    stream, layers, h = altup(norm, n=n, perturbed=False, **form), blocks(D, BLOCKS), draw(2, 3, D)
    states, hidden = run(stream, layers, h.repeat(1, 1, n) if form["embedding"] == "widened" else h)
    for k, state in enumerate(states):
        sublayers = list(zip(bound(layers), [reference.as_written(norm(D))] * len(KINDS), strict=True))
        done = k - 1 if state.layer is not None else k
        for i in range(n):
            expected = reference.pre_norm(h, sublayers[:done])
            torch.testing.assert_close(state.H[..., i, :], expected, rtol=1e-12, atol=1e-12)
        if state.layer is not None:
            torch.testing.assert_close(state.layer, reference.pre_norm(h, sublayers[:k]), rtol=1e-12, atol=1e-12)
    within = [state.layer is not None for state in states]
    assert within == [form["per"] == "block" and k % 2 == 1 for k in range(len(states))]
    plain = reference.pre_norm(h, sublayers)
    end = n * plain if form["embedding"] == "recycled" else plain.repeat(1, 1, n)
    torch.testing.assert_close(hidden, reference.as_written(stream.norm)(end), rtol=1e-11, atol=1e-11)


@every_form
def test_gradients_are_those_of_finite_differences(form):
    stream = altup(EVERY_NORM["layer_norm with weights"], kinds=KINDS[:4], n=3, **form)
    assert torch.autograd.gradcheck(*whole(stream, blocks(D, 2), draw(1, 2, stream.embedding_dim)))


def e(i, n):
    return torch.eye(n, dtype=torch.float64)[i]


@torch.no_grad()
@every_n
@pytest.mark.parametrize("active", ["alternating", "fixed"])
def test_the_matrix_of_a_sublayer(n, active, norm):
    """A_m = e_j*, B = g, A_rᵀ = P - g P_j* + g e_j*ᵀ; the stream that a block needs beside these stays out of it."""
    stream, layers = altup(norm, n=n, active=active, per="sublayer"), blocks(D, BLOCKS)
    states, _ = run(stream, layers, draw(1, 2, D))
    for k, (connection, state) in enumerate(zip(stream.connections, states, strict=False)):
        P, g, star = connection.correction.P, connection.correction.g, k % n if active == "alternating" else 0
        A_rT = P - g[:, None] @ P[star][None] + g[:, None] @ e(star, n)[None]
        B, A_m, A_r = connection.coefficients(state, state.H[..., 0, :])
        torch.testing.assert_close(B, torch.cat((g, torch.zeros(1).double())))
        torch.testing.assert_close(A_m, e(star, n + 1))
        torch.testing.assert_close(A_r[:n, :n], A_rT.T)
        assert not A_r[n].any() and not A_r[:, n].any()


@torch.no_grad()
@every_n
@pytest.mark.parametrize("active", ["alternating", "fixed"])
def test_the_matrices_of_a_block(n, active, norm):
    """Attention: A_m = e_j*, B = e_n+1, A_r = diag(I, 0) and 1 at (j*, n+1).
    Feed-forward: A_m = e_n+1, B = (g, 0), A_rᵀ = [P - g P_j* | g] over a row of zeros."""
    stream, layers = altup(norm, n=n, active=active), blocks(D, BLOCKS)
    states, _ = run(stream, layers, draw(1, 2, D))
    for k, (connection, state) in enumerate(zip(stream.connections, states, strict=False)):
        star = k // 2 % n if active == "alternating" else 0
        B, A_m, A_r = connection.coefficients(state, state.H[..., 0, :])
        if k % 2 == 0:
            kept = torch.diag(1 - e(n, n + 1))
            kept[star, n] = 1
            expected = e(n, n + 1), e(star, n + 1), kept
        else:
            P, g = connection.correction.P, connection.correction.g
            A_rT = torch.zeros(n + 1, n + 1).double()
            A_rT[:n, :n], A_rT[:n, n] = P - torch.outer(g, P[star]), g
            expected = torch.cat((g, torch.zeros(1).double())), e(n, n + 1), A_rT.T
        for own, other in zip((B, A_m, A_r), expected, strict=True):
            torch.testing.assert_close(own, other)


@every_form
def test_its_matrices_are_the_whole_mode(form, norm):
    """From the embedding to the end by nothing but the stated matrices, never by the mode's own state."""
    stream, layers = altup(norm, n=3, **form), blocks(D, BLOCKS)
    h = draw(2, 3, stream.embedding_dim)
    states, ours = run(stream, layers, h)
    H = stream.expand_weights().double().mT @ h.unflatten(-1, (-1, D))
    for connection, T, state in zip(stream.connections, bound(layers), states, strict=False):
        norm_of = reference.as_written(connection.norm)
        # The coefficients look at the state's form alone, so its values may be any.
        empty = type(state)(*(None if part is None else torch.zeros_like(part) for part in state))
        coefficients = connection.coefficients(empty, h.new_zeros(2, 3, D))
        H = hyper_connect(H, lambda x, T=T, norm_of=norm_of: T(norm_of(x)), coefficients)
    theirs = stream.norm((stream.reduce_weights(states[-1]).double().mT @ H).flatten(-2))
    assert_same(ours, theirs, [h, *stream.parameters(), *layers.parameters()])


@pytest.mark.parametrize(
    "knob, value, allowed",
    [("active", "random", "alternating, fixed"), ("embedding", "sum", "recycled, widened"), ("per", "layer", "block")],
)
def test_an_unknown_form_is_refused(knob, value, allowed):
    with pytest.raises(ValueError, match=f"residual.{knob}={value} .*{allowed}"):
        AltUp(D, KINDS, NORMS["layer_norm"], **{knob: value})


@pytest.mark.parametrize("n", [0, 1.5, True])
def test_a_number_of_streams_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match=f"residual.n={n} .*from 1 to 1024"):
        AltUp(D, KINDS, NORMS["layer_norm"], n=n)


def test_a_block_needs_both_sublayers_and_a_sublayer_does_not():
    kinds = ("attention", "attention", "feed_forward")
    with pytest.raises(ValueError, match="attention, attention, feed_forward"):
        AltUp(D, kinds, NORMS["layer_norm"], per="block")
    assert len(AltUp(D, kinds, NORMS["layer_norm"], per="sublayer").connections) == 3
