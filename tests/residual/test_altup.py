"""AltUp: its definition in every form, its matrices, and pre-norm at the start."""

from itertools import product

import pytest
import torch

from hcexp.residual import AltUp, hyper_connect
from tests.residual import reference
from tests.residual.compare import assert_finite_differences, assert_same, blocks, bound, draw, literal, run
from tests.residual.conftest import EVERY_NORM, NORMS, made

D = 4
BLOCKS = 5  # one more than streams: the active one comes round again for every n here
FORMS = [
    {"active": active, "embedding": embedding, "per": per}
    for active, embedding, per in product(("alternating", "fixed"), ("recycled", "widened"), ("block", "sublayer"))
]
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: ",".join(form.values()))
every_n = pytest.mark.parametrize("n", [1, 2, 3, 4])


def altup(norm, **knobs):
    return made(AltUp, norm, d=D, **{"blocks": BLOCKS, **knobs})


@every_form
@every_n
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm with weights"])
def test_equals_its_definition(name, n, form):
    stream = altup(EVERY_NORM[name], n=n, **form)
    layers, h, recycled = blocks(D, BLOCKS), draw(2, 3, stream.embedding_dim), form["embedding"] == "recycled"
    _, ours = run(stream, layers, h)
    size = 2 if form["per"] == "block" else 1
    sublayers = literal(stream, layers)
    grouped = [sublayers[i : i + size] for i in range(0, len(sublayers), size)]
    stars = [number % n if form["active"] == "alternating" else 0 for number in range(len(grouped))]
    corrections = [c.correction for c in stream.connections[size - 1 :: size]]
    start = [h] * n if recycled else list(h.split(D, dim=-1))
    streams = reference.altup(start, grouped, stars, [c.P for c in corrections], [c.g for c in corrections])
    theirs = reference.as_written(stream.norm)(sum(streams) if recycled else torch.cat(streams, dim=-1))
    assert_same(ours, theirs, [h, *stream.parameters(), *layers.parameters()])


@torch.no_grad()
@every_form
@every_n
def test_starts_as_pre_norm_in_every_stream(n, form, norm):
    """P = I and g = 1, between layers and within them; all the streams of a widened embedding alike."""
    stream, layers, h = altup(norm, n=n, perturbed=False, **form), blocks(D, BLOCKS), draw(2, 3, D)
    states, hidden = run(stream, layers, h.repeat(1, 1, n) if form["embedding"] == "widened" else h)
    sublayers = literal(stream, layers)
    for k, (H, layer) in enumerate(states):
        within = form["per"] == "block" and k % 2 == 1
        assert (layer is not None) == within
        expected = reference.pre_norm(h, sublayers[: k - within])
        torch.testing.assert_close(H, torch.stack([expected] * n, -2), rtol=1e-12, atol=1e-12)
        if within:
            torch.testing.assert_close(layer, reference.pre_norm(h, sublayers[:k]), rtol=1e-12, atol=1e-12)
    plain = reference.pre_norm(h, sublayers)
    end = n * plain if form["embedding"] == "recycled" else plain.repeat(1, 1, n)
    torch.testing.assert_close(hidden, reference.as_written(stream.norm)(end), rtol=1e-11, atol=1e-11)


@every_form
def test_gradients_are_those_of_finite_differences(form):
    stream = altup(EVERY_NORM["layer_norm with weights"], blocks=2, n=3, **form)
    assert_finite_differences(stream, draw(1, 2, stream.embedding_dim))


def e(i, n):
    return torch.eye(n, dtype=torch.float64)[i]


@torch.no_grad()
@every_n
@pytest.mark.parametrize("active", ["alternating", "fixed"])
@pytest.mark.parametrize("per", ["block", "sublayer"])
def test_its_matrices(per, n, active, norm):
    """Of a sublayer: A_m = e_j*, B = g, A_rᵀ = P - g P_j* + g e_j*ᵀ; the stream that a block needs stays out of it.
    Of a block's attention: A_m = e_j*, B = e_n+1, A_r = diag(I, 0) and 1 at (j*, n+1).
    Of its feed-forward: A_m = e_n+1, B = (g, 0), A_rᵀ = [P - g P_j* | g] over a row of zeros."""
    stream, layers = altup(norm, n=n, active=active, per=per), blocks(D, BLOCKS)
    states, _ = run(stream, layers, draw(1, 2, D))
    for k, (connection, state) in enumerate(zip(stream.connections, states, strict=False)):
        number = k if per == "sublayer" else k // 2
        star = number % n if active == "alternating" else 0
        A_rT = torch.zeros(n + 1, n + 1).double()
        if per == "block" and k % 2 == 0:
            A_rT[:n, :n], A_rT[n, star] = torch.eye(n), 1
            expected = e(n, n + 1), e(star, n + 1), A_rT.T
        else:
            P, g, read = connection.correction.P, connection.correction.g, star if per == "sublayer" else n
            A_rT[:n, :n] = P - torch.outer(g, P[star])
            A_rT[:n, read] += g
            expected = torch.cat((g, torch.zeros(1).double())), e(read, n + 1), A_rT.T
        for own, other in zip(connection.coefficients(state, state.H[..., 0, :]), expected, strict=True):
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
        altup(NORMS["layer_norm"], **{knob: value})


def test_layers_that_are_sublayers_need_no_blocks():
    stream = AltUp(D, ("attention", "attention", "feed_forward"), NORMS["layer_norm"], per="sublayer")
    assert [connection.active for connection in stream.connections] == [0, 1, 0]
