"""Measures of single matrices; test_survey.py compares them with numpy on models."""

import pytest
import torch

from hcexp.analysis.measures import effective_rank, gains, shares


def test_gains_are_the_largest_absolute_sums_of_a_column_and_of_a_row():
    assert gains(torch.tensor([[1.0, -2.0], [0.5, 0.25]])) == (2.25, 3.0)
    for keeps_the_size_of_all_streams in (torch.eye(4), torch.eye(4)[[2, 0, 3, 1]], torch.full((4, 4), 0.25)):
        assert gains(keeps_the_size_of_all_streams) == (1, 1)


def test_a_forward_gain_is_how_much_a_stream_can_grow():
    torch.manual_seed(0)
    A_r = torch.randn(4, 4, dtype=torch.float64)
    worst = A_r.sign()[:, A_r.abs().sum(0).argmax()]  # streams of size 1 with the worst signs
    torch.testing.assert_close((A_r.mT @ worst).abs().max(), gains(A_r)[0])


def test_shares_are_of_absolute_weights():
    torch.testing.assert_close(shares(torch.tensor([[3.0, -1.0], [0.0, 0.0]])), torch.tensor([[0.75, 0.25], [0, 0]]))


def test_the_effective_rank_counts_directions():
    torch.manual_seed(0)
    h = torch.randn(16, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(16, 4, dtype=torch.float64)).Q.mT
    cases = {1: torch.stack([h, -2 * h, h, 0 * h]), 2: basis[[0, 0, 1, 1]], 4: 7 * basis, 0: 0 * basis}
    for rank, H in cases.items():
        assert effective_rank(H).item() == pytest.approx(rank, abs=1e-6)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_effective_rank_is_that_of_the_singular_values(n):
    torch.manual_seed(n)
    H = torch.randn(2, 5, n, 4)
    singular = torch.linalg.svdvals(H.double())
    p = singular / singular.sum(-1, keepdim=True)
    expected = torch.exp(-(p * p.clamp(min=1e-300).log()).sum(-1))
    torch.testing.assert_close(effective_rank(H), expected, rtol=1e-6, atol=0)
