"""Connection matrices of whole language models."""

import pytest
import torch

from hcexp.analysis import connection_matrices
from tests.analysis.models import LAYERS, L, network, perturbed, tokens
from tests.registered import MODES

ALL = torch.ones(L + 1, L + 1, dtype=torch.float64).tril()
NOT_BLOCKWISE = ALL.clone()  # no block feeds its own feed-forward
NOT_BLOCKWISE[range(1, L, 2), range(1, L, 2)] = 0


@pytest.mark.parametrize("mode, expected", [("pre_norm", ALL), ("parallel", NOT_BLOCKWISE)])
def test_every_output_is_added_once(mode, expected):
    C_0, C, _ = connection_matrices(network(mode), [tokens(2, 5)])
    assert torch.equal(C_0, expected)
    if mode == "pre_norm":
        assert torch.equal(C[0], expected[:-1])


def test_two_hop_forgets_attention_after_its_block_and_post_norm_what_is_long_ago():
    """Every norm shrinks all that came before it, but for the first, which brings the embedding to its size."""
    C_0, *_ = connection_matrices(network("two_hop"), [tokens(2, 5)])
    assert C_0[-1].tolist() == [1.0, *[0.0, 1.0] * LAYERS] and C_0[1, 1] == 1
    last = connection_matrices(network("post_norm"), [tokens(2, 5)]).C_0[-1]
    torch.testing.assert_close(last[0], last[1])
    assert (last[2:].diff() > 0).all() and (last > 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_autocast_has_no_part_in_it(mode):
    model = perturbed(mode).float()
    expected = connection_matrices(model, [tokens(2, 5)])
    with torch.autocast("cpu", torch.bfloat16):
        found = connection_matrices(model, [tokens(2, 5)])
    for C, other in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(C, other, rtol=0.05, atol=0.05)  # the network itself is rounded
