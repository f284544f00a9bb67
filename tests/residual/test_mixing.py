"""The two forms of a sum of streams are one."""

import pytest
import torch

from hcexp.residual.mixing import mixed, width_connection


def forms(monkeypatch, function, H, weights):
    """What the interpreter runs, and what the compiler gets, with their gradients."""
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda compiling=compiling: compiling)
        results = function(H, weights)
        results = results if isinstance(results, tuple) else (results,)
        loss = sum((result.sin() * (1 + i)).sum() for i, result in enumerate(results))
        yield *results, *torch.autograd.grad(loss, (H, weights))


@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("tokens", [(), (2, 5)], ids=["static", "dynamic"])
def test_forms_agree(monkeypatch, n, tokens):
    torch.manual_seed(0)
    H = torch.randn(2, 5, n, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(*tokens, n, n + 1, dtype=torch.float64, requires_grad=True)
    for function in (mixed, width_connection):
        for a, b in zip(*forms(monkeypatch, function, H, weights), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    x, remaining = width_connection(H, weights)
    torch.testing.assert_close(x, mixed(H, weights)[..., 0, :])
    torch.testing.assert_close(remaining, mixed(H, weights)[..., 1:, :])


def test_streams_are_summed_by_columns():
    H = torch.tensor([[1.0, 10.0], [2.0, 20.0]])  # two streams, d = 2
    A_r = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, -1.0]])
    torch.testing.assert_close(mixed(H, A_r), torch.tensor([[1.0, 10.0], [2.0, 20.0], [1.0, 10.0]]))
