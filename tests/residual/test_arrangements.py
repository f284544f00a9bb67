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
from tests.residual.compare import assert_same, blocks, draw, literal, run
from tests.residual.compare import bound as functions
from tests.residual.conftest import D, made

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


def group(n, *, keeps_x: bool = True, offset: int = 0):
    """Eq. 54, then Eq. 55 for the sublayers i = 1 … n-1 after the first: printed with e_i (offset 0), which keeps x."""
    ones, found = torch.ones(n, n, dtype=torch.float64), []
    for i in range(1, n):
        at = e(i + offset, n)
        found.append(Coefficients(at, at, torch.eye(n, dtype=torch.float64) - (0 if keeps_x else torch.diag(at))))
    return [Coefficients(e(1, n), ones[0], ones), *found]


def exact(n):
    return group(n, keeps_x=False, offset=1)


def network(groups, n, norm):
    """Embedding and sublayers, these also as functions with their norm, for `groups` groups of n."""
    layers = blocks(D, -(-groups * n // 2))[: groups * n]
    before = reference.as_written(norm(D))
    return draw(2, 4, D), layers, [lambda x, T=T: T(before(x)) for T in functions(layers)]


def carried(H, sublayers, matrices):
    """Every state of the streams H through the operator, and what each sublayer read."""
    states, read = [H], []
    for T, matrix in zip(sublayers, matrices, strict=True):
        states.append(hyper_connect(states[-1], lambda x, T=T: read.append(x) or T(x), matrix))
    return states, read


def alone(h, n):
    """(h, 0, …), as the parallel arrangement starts."""
    return torch.stack((h, *[torch.zeros_like(h)] * (n - 1)), dim=-2)


def parallel(x, sublayers, n, times=1):
    """`times` x is added to the outputs of n sublayers that read x."""
    for first in range(0, len(sublayers), n):
        x = times * x + sum(T(x) for T in sublayers[first : first + n])
    return x


def static(matrices, norm, *, start):
    """SHC with these weights. It starts from n copies of the embedding: where an arrangement has (h, 0, …), the first
    reads and keeps `start` of each."""
    stream = StaticHyperConnections(D, ("feed_forward",) * len(matrices), norm, n=len(matrices[0].B)).double()
    with torch.no_grad():
        for k, (connection, (B, A_m, A_r)) in enumerate(zip(stream.connections, matrices, strict=True)):
            connection.weights.B.copy_(B)
            connection.weights.A.copy_(torch.cat((A_m.unsqueeze(-1), A_r), dim=-1) * (start if k == 0 else 1))
    return stream


def test_general_n_is_the_printed_two(norm):
    for own, printed in ((group(2, offset=1), (EQ_18, EQ_19)), (exact(2), (EQ_18, EQ_19_EXACT))):
        assert all(torch.equal(a, b) for pair in zip(own, printed, strict=True) for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_sequential_is_pre_norm_in_every_stream(n, norm):
    h, layers, sublayers = network(3, 2, norm)
    leaves = [h, *layers.parameters()]
    matrix = EQ_17 if n == 2 else Coefficients(torch.ones(n).double(), e(1, n), torch.eye(n).double())
    stream = static([matrix] * 6, norm, start=1)
    plain = reference.pre_norm(h, literal(stream, layers))
    expected = torch.stack([plain] * n, dim=-2)
    assert_same(carried(torch.stack([h] * n, dim=-2), sublayers, [matrix] * 6)[0][-1], expected, leaves)
    states, hidden = run(stream, layers, h)
    assert_same(states[-1], expected, leaves)
    assert_same(hidden, reference.as_written(norm(D))(n * plain), leaves)


@every_n
def test_parallel_with_the_corrections(n, norm):
    h, layers, sublayers = network(3, n, norm)
    expected, leaves = parallel(h, sublayers, n), [h, *layers.parameters()]
    states, read = carried(alone(h, n), sublayers, exact(n) * 3)
    assert_same(states[-1].sum(-2), expected, leaves)
    for k, x in enumerate(read):
        torch.testing.assert_close(x, parallel(h, sublayers[: k // n * n], n), rtol=1e-12, atol=1e-12)

    states, hidden = run(static(exact(n) * 3, norm, start=1 / n), layers, h)
    assert_same(states[-1].sum(-2), expected, leaves)
    assert_same(hidden, reference.as_written(norm(D))(expected), leaves)


@every_n
def test_parallel_as_printed_multiplies_the_stream(n, norm):
    """A group ends in `n x + Σ T(x)`, twice x by Eqs. 18 and 19: no norm undoes that, for the outputs are not
    multiplied."""
    h, layers, sublayers = network(3, n, norm)
    printed, final, leaves = group(n, offset=1) * 3, reference.as_written(norm(D)), [h, *layers.parameters()]
    states, _ = carried(alone(h, n), sublayers, printed)
    assert_same(states[n].sum(-2), n * h + sum(T(h) for T in sublayers[:n]), [h, *layers[:n].parameters()])
    x = parallel(h, sublayers, n, times=n)
    assert_same(states[-1].sum(-2), x, leaves)
    assert (final(x) - final(parallel(h, sublayers, n))).abs().max() > 0.1
    assert_same(run(static(printed, norm, start=1 / n), layers, h)[1], final(x), leaves)


@torch.no_grad()
@every_n
@pytest.mark.parametrize("keeps_x", [True, False])
def test_parallel_with_the_printed_vector_is_not_parallel(n, keeps_x, norm):
    """With e_i the second sublayer of a group reads the first's output, and nobody reads or writes stream n."""
    h, _, sublayers = network(1, n, norm)
    states, read = carried(alone(h, n), sublayers, group(n, keeps_x=keeps_x))
    torch.testing.assert_close(read[1], h + sublayers[0](h), rtol=1e-12, atol=1e-12)
    assert (read[1] - h).abs().max() > 0.1
    torch.testing.assert_close(states[-1][..., n - 1, :], h, rtol=0, atol=0)
    assert (states[-1].sum(-2) - parallel(h, sublayers, n)).abs().max() > 0.1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_parallel_mode_is_the_corrected_arrangement(count, norm):
    h, layers, sublayers = network(count, 2, norm)
    stream, leaves = made(Parallel, norm, blocks=count), [h, *layers.parameters()]
    states, hidden = run(stream, layers, h)
    arranged, _ = carried(alone(h, 2), sublayers, [EQ_18, EQ_19_EXACT] * count)
    for state, H in zip(states, arranged, strict=True):
        torch.testing.assert_close(stream.streams(state), H, rtol=1e-12, atol=1e-12)
    assert_same(hidden, reference.as_written(norm(D))(arranged[-1].sum(-2)), leaves)
    assert_same(hidden, run(static(exact(2) * count, norm, start=1 / 2), layers, h)[1], leaves)
