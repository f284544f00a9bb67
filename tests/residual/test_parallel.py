"""The parallel transformer block: its definition and its matrices."""

import pytest
import torch

from hcexp.residual import Parallel
from tests.residual import reference
from tests.residual.compare import EVERY_NORM, assert_same, blocks, bound, draw, run, whole
from tests.residual.conftest import NORMS, perturb

D, BLOCKS = 6, 3
KINDS = ("attention", "feed_forward") * BLOCKS


def parallel(norm, d=D, kinds=KINDS):
    stream = Parallel(d, kinds, norm).double()
    perturb(stream)
    return stream


def literal(stream, layers):
    return list(zip(bound(layers), [reference.as_written(c.norm) for c in stream.connections], strict=True))


@pytest.mark.parametrize("name", EVERY_NORM)
def test_equals_its_definition(name):
    stream, layers, h = parallel(EVERY_NORM[name]), blocks(D, BLOCKS), draw(2, 4, D)
    _, ours = run(stream, layers, h)
    theirs = reference.as_written(stream.norm)(reference.parallel(h, literal(stream, layers)))
    assert_same(ours, theirs, [h, *stream.parameters(), *layers.parameters()])


@pytest.mark.parametrize("name", EVERY_NORM)
def test_gradients_are_those_of_finite_differences(name):
    stream = parallel(EVERY_NORM[name], 4, KINDS[:4])
    assert torch.autograd.gradcheck(*whole(stream, blocks(4, 2), draw(1, 2, 4)))


@torch.no_grad()
def test_the_streams_sum_to_every_blocks_input(norm):
    stream, layers, h = parallel(norm), blocks(D, BLOCKS), draw(2, 4, D)
    states, _ = run(stream, layers, h)
    for block in range(BLOCKS + 1):
        x = reference.parallel(h, literal(stream, layers)[: 2 * block])
        torch.testing.assert_close(stream.streams(states[2 * block]).sum(-2), x, rtol=1e-12, atol=1e-12)


def test_its_matrices(norm):
    stream, layers = parallel(norm), blocks(D, BLOCKS)
    states, _ = run(stream, layers, draw(1, 2, D))
    attention, feed_forward = (c.coefficients(states[0], states[0].first) for c in stream.connections[:2])
    assert [w.tolist() for w in attention] == [[1, 0], [1, 1], [[1, 1], [1, 1]]]
    assert [w.tolist() for w in feed_forward] == [[0, 1], [0, 1], [[1, 0], [0, 0]]]
    assert stream.expand_weights().tolist() == [[1, 0]]
    assert stream.reduce_weights(states[-1]).tolist() == [[1], [1]]


@pytest.mark.parametrize("kinds", [("attention",), ("feed_forward", "attention"), ("attention", "attention")])
def test_other_sublayers_than_blocks_are_refused(kinds):
    with pytest.raises(ValueError, match=f"attention, feed_forward.*{', '.join(kinds)}"):
        Parallel(D, kinds, NORMS["layer_norm"])
