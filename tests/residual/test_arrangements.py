"""The arrangements that hyper-connections can learn (section 3.2, appendix H), as the paper prints them and corrected.

Sequential, Eq. 17: every stream is pre-norm. Parallel, Eqs. 18 and 19 for two streams, 54 and 55 for n: of n sublayers
in a row each reads x, and their outputs are added to it. As printed, A_r of every sublayer but the first of a group
keeps the x in the stream that it writes to, so that n-1 copies too many enter the next group; and the vector of
Eq. 55 is e_i, the stream of the sublayer before, where e_i+1 still holds x.
"""

import pytest
import torch

from hcexp.residual import Coefficients, Parallel, StaticHyperConnections, hyper_connect
from tests.residual import reference
from tests.residual.compare import assert_same, blocks, draw, run
from tests.residual.compare import bound as functions

D = 6
every_n = pytest.mark.parametrize("n", [2, 3, 4])


def hc(B, A_m, A_r):
    return Coefficients(*(torch.tensor(weights, dtype=torch.float64) for weights in (B, A_m, A_r)))


EQ_17 = hc([1, 1], [1, 0], [[1, 0], [0, 1]])
EQ_18 = hc([1, 0], [1, 1], [[1, 1], [1, 1]])
EQ_19 = hc([0, 1], [0, 1], [[1, 0], [0, 1]])
EQ_19_EXACT = hc([0, 1], [0, 1], [[1, 0], [0, 0]])


def e(i, n):
    """Counted from 1, as in the paper."""
    return torch.eye(n, dtype=torch.float64)[i - 1]


def eq_54(n):
    ones = torch.ones(n, n, dtype=torch.float64)
    return Coefficients(e(1, n), ones[0], ones)


def eq_55(n, i, *, keeps_x: bool = True, offset: int = 0):
    """The i-th sublayer after the first of a group, i = 1 … n-1; printed with e_i (offset 0), which keeps x."""
    at = e(i + offset, n)
    return Coefficients(at, at, torch.eye(n, dtype=torch.float64) - (0 if keeps_x else torch.diag(at)))


def group(n, **correction):
    return [eq_54(n), *(eq_55(n, i, **correction) for i in range(1, n))]


def exact(n):
    return group(n, keeps_x=False, offset=1)


def network(groups, n, norm):
    """Embedding and sublayers, these also as functions with their norm, for `groups` groups of n."""
    layers = blocks(D, -(-groups * n // 2))[: groups * n]
    before = reference.as_written(norm(D))
    return draw(2, 4, D), layers, [lambda x, T=T: T(before(x)) for T in functions(layers)]


def carried(h, sublayers, matrices):
    """Streams that start as (h, 0, …), through the operator, and what each sublayer read."""
    H, read = torch.stack((h, *[torch.zeros_like(h)] * (matrices[0].B.shape[-1] - 1)), dim=-2), []
    for T, matrix in zip(sublayers, matrices, strict=True):
        H = hyper_connect(H, lambda x, T=T: read.append(x) or T(x), matrix)
    return H, read


def parallel(x, sublayers, n):
    for first in range(0, len(sublayers), n):
        x = x + sum(T(x) for T in sublayers[first : first + n])
    return x


def static(matrices, n, norm):
    """SHC with these weights. It starts from n copies of the embedding, where the arrangements have (h, 0, …): the
    first reads and keeps a n-th of each."""
    stream = StaticHyperConnections(D, ("feed_forward",) * len(matrices), norm, n=n).double()
    with torch.no_grad():
        for k, (connection, (B, A_m, A_r)) in enumerate(zip(stream.connections, matrices, strict=True)):
            connection.weights.B.copy_(B)
            connection.weights.A.copy_(torch.cat((A_m.unsqueeze(-1), A_r), dim=-1) / (n if k == 0 else 1))
    return stream


def test_general_n_is_the_printed_two(norm):
    for own, printed in zip(group(2, offset=1), (EQ_18, EQ_19), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, printed, strict=True))
    for own, corrected in zip(exact(2), (EQ_18, EQ_19_EXACT), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, corrected, strict=True))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_sequential_is_pre_norm_in_every_stream(n, norm):
    h, layers, sublayers = network(3, 2, norm)
    matrix = EQ_17 if n == 2 else Coefficients(torch.ones(n).double(), e(1, n), torch.eye(n).double())
    plain = reference.pre_norm(h, list(zip(sublayers, [lambda x: x] * 6, strict=True)))
    H = torch.stack([h] * n, dim=-2)
    for T in sublayers:
        H = hyper_connect(H, T, matrix)
    assert_same(H, torch.stack([plain] * n, dim=-2), [h, *layers.parameters()])

    stream = StaticHyperConnections(D, ("attention", "feed_forward") * 3, norm, n=n).double()
    with torch.no_grad():
        for connection in stream.connections:
            connection.weights.B.copy_(matrix.B)
            connection.weights.A.copy_(torch.cat((matrix.A_m.unsqueeze(-1), matrix.A_r), dim=-1))
    states, hidden = run(stream, layers, h)
    assert_same(states[-1], torch.stack([plain] * n, dim=-2), [h, *layers.parameters()])
    assert_same(hidden, reference.as_written(norm(D))(n * plain), [h, *layers.parameters()])


@every_n
def test_parallel_with_the_corrections(n, norm):
    h, layers, sublayers = network(3, n, norm)
    expected = parallel(h, sublayers, n)
    H, read = carried(h, sublayers, exact(n) * 3)
    assert_same(H.sum(-2), expected, [h, *layers.parameters()])
    for k, x in enumerate(read):
        torch.testing.assert_close(x, parallel(h, sublayers[: k // n * n], n), rtol=1e-12, atol=1e-12)

    states, hidden = run(static(exact(n) * 3, n, norm), layers, h)
    assert_same(states[-1].sum(-2), expected, [h, *layers.parameters()])
    assert_same(hidden, reference.as_written(norm(D))(expected), [h, *layers.parameters()])


@every_n
def test_parallel_as_printed_multiplies_the_stream(n, norm):
    """A group ends in `n x + Σ T(x)`, twice x by Eqs. 18 and 19: no norm undoes that, for the outputs are not
    multiplied."""
    h, layers, sublayers = network(3, n, norm)
    printed = group(n, offset=1)
    H, _ = carried(h, sublayers[:n], printed)
    assert_same(H.sum(-2), n * h + sum(T(h) for T in sublayers[:n]), [h, *layers[:n].parameters()])

    H, _ = carried(h, sublayers, printed * 3)
    x = h
    for first in range(0, 3 * n, n):
        x = n * x + sum(T(x) for T in sublayers[first : first + n])
    assert_same(H.sum(-2), x, [h, *layers.parameters()])
    final = reference.as_written(norm(D))
    assert (final(H.sum(-2)) - final(parallel(h, sublayers, n))).abs().max() > 0.1

    _, hidden = run(static(printed * 3, n, norm), layers, h)
    assert_same(hidden, final(x), [h, *layers.parameters()])


@torch.no_grad()
@every_n
@pytest.mark.parametrize("keeps_x", [True, False])
def test_parallel_with_the_printed_vector_is_not_parallel(n, keeps_x, norm):
    """With e_i the second sublayer of a group reads the first's output, and nobody reads or writes stream n."""
    h, _, sublayers = network(1, n, norm)
    _, read = carried(h, sublayers, exact(n))
    assert all(torch.equal(x, h) for x in read)

    H, read = carried(h, sublayers, group(n, keeps_x=keeps_x))
    torch.testing.assert_close(read[1], h + sublayers[0](h), rtol=1e-12, atol=1e-12)
    assert (read[1] - h).abs().max() > 0.1
    torch.testing.assert_close(H[..., n - 1, :], h, rtol=0, atol=0)
    assert (H.sum(-2) - parallel(h, sublayers, n)).abs().max() > 0.1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_parallel_mode_is_the_corrected_arrangement(count, norm):
    h, layers, sublayers = network(count, 2, norm)
    stream = Parallel(D, ("attention", "feed_forward") * count, norm).double()
    states, hidden = run(stream, layers, h)
    H = torch.stack((h, torch.zeros_like(h)), dim=-2)
    for k, (T, matrix) in enumerate(zip(sublayers, [EQ_18, EQ_19_EXACT] * count, strict=True)):
        H = hyper_connect(H, T, matrix)
        torch.testing.assert_close(stream.streams(states[k + 1]), H, rtol=1e-12, atol=1e-12)
    assert_same(hidden, reference.as_written(norm(D))(H.sum(-2)), [h, *layers.parameters()])
    assert_same(hidden, run(static(exact(2) * count, 2, norm), layers, h)[1], [h, *layers.parameters()])
