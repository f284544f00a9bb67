"""Connection matrices of whole language models."""

import pytest
import torch

from hcexp.analysis import connection_matrices
from tests.analysis.models import LAYERS, network, tokens
from tests.registered import MODES
from tests.residual.conftest import perturb


def test_pre_norm_adds_every_output_once():
    C_0, C, _ = connection_matrices(network("pre_norm"), [tokens(2, 5)])
    expected = torch.ones(2 * LAYERS + 1, 2 * LAYERS + 1, dtype=torch.float64).tril()
    assert torch.equal(C_0, expected)
    assert torch.equal(C[0], expected[:-1])


def test_post_norm_forgets():
    """Every norm shrinks all that came before it, but for the first, which brings the embedding to its size."""
    C_0, *_ = connection_matrices(network("post_norm"), [tokens(2, 5)])
    last = C_0[-1]
    torch.testing.assert_close(last[0], last[1])
    assert (last[2:].diff() > 0).all() and (last > 0).all()


def test_parallel_blocks_do_not_feed_their_own_feed_forward():
    C_0, *_ = connection_matrices(network("parallel"), [tokens(2, 5)])
    expected = torch.ones(2 * LAYERS + 1, 2 * LAYERS + 1, dtype=torch.float64).tril()
    for layer in range(LAYERS):
        expected[2 * layer + 1, 2 * layer + 1] = 0
    assert torch.equal(C_0, expected)


def test_two_hop_forgets_attention_after_its_block():
    C_0, *_ = connection_matrices(network("two_hop"), [tokens(2, 5)])
    last = torch.tensor([1.0, *[0.0, 1.0] * LAYERS], dtype=torch.float64)
    assert torch.equal(C_0[-1], last)
    assert C_0[1, 1] == 1


def test_the_average_is_over_tokens_not_over_batches():
    model = network("dhc", "residual.n=3")
    perturb(model.stream, scale=0.5)
    first, second = tokens(3, 4), tokens(1, 4, seed=1)
    together = connection_matrices(model, [torch.cat((first, second))])
    for whole, parts in zip(together, connection_matrices(model, [first, second]), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    assert together.C_0.shape == (2 * LAYERS + 1, 2 * LAYERS + 1)
    assert together.C.shape == (3, 2 * LAYERS, 2 * LAYERS + 1)


def test_many_small_batches_of_half_precision_are_averaged_rightly():
    """A running sum in bfloat16 would stop growing at 256."""
    C_0, C, _ = connection_matrices(network("pre_norm").bfloat16(), [tokens(1, 1)] * 300)
    assert torch.equal(C_0, torch.ones_like(C_0).tril()) and C.dtype == torch.float64


@pytest.mark.parametrize("mode", MODES)
def test_autocast_has_no_part_in_it(mode):
    model = network(mode).float()
    perturb(model.stream, scale=0.3)
    expected = connection_matrices(model, [tokens(2, 5)])
    with torch.autocast("cpu", torch.bfloat16):
        found = connection_matrices(model, [tokens(2, 5)])
    for C, other in zip(found, expected, strict=True):
        torch.testing.assert_close(C, other, rtol=0.05, atol=0.05)  # the network itself is rounded


def test_empty_batches_do_not_count():
    model = network("dhc")
    found, expected = (connection_matrices(model, b) for b in ([tokens(0, 5), tokens(1, 5)], [tokens(1, 5)]))
    assert torch.equal(found.C_0, expected.C_0) and torch.equal(found.C, expected.C)


def test_nothing_to_average_is_refused():
    with pytest.raises(ValueError, match="^no tokens"):
        connection_matrices(network("pre_norm"), [])
