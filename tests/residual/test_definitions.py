"""Parallel, two-hop, Post-Norm and ResiDual against their papers' definitions, and the constant matrices of two."""

import pytest
import torch

from hcexp.residual import AltUp, Parallel, PostNorm, ResiDual, TwoHop
from tests.residual import reference
from tests.residual.compare import assert_finite_differences, assert_same, blocks, draw, literal, run
from tests.residual.conftest import EVERY_NORM, NORMS, D, made

DEFINITIONS = {
    Parallel: reference.parallel,
    TwoHop: reference.two_hop,
    PostNorm: reference.post_norm,
    ResiDual: reference.resi_dual,
}


@pytest.mark.parametrize("name", EVERY_NORM)
@pytest.mark.parametrize("mode", DEFINITIONS)
def test_equals_its_definition(mode, name):
    stream, layers, h = made(mode, EVERY_NORM[name], blocks=3), blocks(D, 3), draw(2, 4, D)
    _, ours = run(stream, layers, h)
    sum_norm = [reference.as_written(stream.sum_norm)] if mode is ResiDual else []
    theirs = DEFINITIONS[mode](h, literal(stream, layers), *sum_norm)
    theirs = theirs if mode in (PostNorm, ResiDual) else reference.as_written(stream.norm)(theirs)
    assert_same(ours, theirs, [h, *stream.parameters(), *layers.parameters()])
    assert_finite_differences(made(mode, EVERY_NORM[name], d=4), draw(1, 2, 4))


MATRICES = {
    Parallel: ([[1, 0], [1, 1], [[1, 1], [1, 1]]], [[0, 1], [0, 1], [[1, 0], [0, 0]]], [[1], [1]]),
    TwoHop: ([[0, 1], [1, 0], [[1, 1], [0, 0]]], [[1, 0], [0, 1], [[1, 0], [0, 0]]], [[1], [0]]),
}


@torch.no_grad()
@pytest.mark.parametrize("mode", MATRICES)
def test_its_matrices_and_what_its_streams_hold(mode, norm):
    stream, layers, h = made(mode, norm, blocks=3), blocks(D, 3), draw(2, 4, D)
    states, _ = run(stream, layers, h)
    stated = [[w.tolist() for w in c.coefficients(states[0], h)] for c in stream.connections[:2]]
    assert (*stated, stream.reduce_weights(states[-1]).tolist()) == MATRICES[mode]
    assert stream.expand_weights().tolist() == [[1, 0]]
    for k in range(0, len(states), 2):
        x = DEFINITIONS[mode](h, literal(stream, layers)[:k])  # the block's input
        between = stream.streams(states[k])
        if mode is Parallel:
            torch.testing.assert_close(between.sum(-2), x, rtol=1e-12, atol=1e-12)
            continue
        torch.testing.assert_close(between, torch.stack((x, torch.zeros_like(x)), -2), rtol=1e-12, atol=1e-12)
        if k < len(layers):  # the second stream waits within a block
            y = reference.pre_norm(x, literal(stream, layers)[k : k + 1])
            torch.testing.assert_close(stream.streams(states[k + 1]), torch.stack((x, y), -2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", [Parallel, TwoHop, AltUp])
def test_other_sublayers_than_blocks_are_refused(mode):
    for kinds in (("attention",), ("feed_forward", "attention"), ("attention", "attention", "feed_forward")):
        with pytest.raises(ValueError, match=f"attention, feed_forward.*{', '.join(kinds)}"):
            mode(D, kinds, NORMS["layer_norm"])
