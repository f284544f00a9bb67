"""The two forms of a sum of streams are one."""

import pytest
import torch

from hcexp.residual.mixing import mixed, stream_by_stream, width_connection


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
@pytest.mark.parametrize("function", [mixed, width_connection])
def test_forms_agree(monkeypatch, function, n, tokens):
    torch.manual_seed(0)
    H = torch.randn(2, 5, n, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(*tokens, n, n + 1, dtype=torch.float64, requires_grad=True)
    interpreted, compiled = forms(monkeypatch, function, H, weights)
    for a, b in zip(interpreted, compiled, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_streams_are_summed_by_columns():
    H = torch.tensor([[1.0, 10.0], [2.0, 20.0]])  # two streams, d = 2
    A_r = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, -1.0]])
    expected = torch.tensor([[1.0, 10.0], [2.0, 20.0], [1.0, 10.0]])
    torch.testing.assert_close(mixed(H, A_r), expected)
    torch.testing.assert_close(stream_by_stream(H, A_r), expected)


def test_the_width_connection_reads_the_first_column():
    H = torch.randn(1, 4, 3, 7)
    alpha = torch.randn(3, 4)
    x, remaining = width_connection(H, alpha)
    assert x.shape == (1, 4, 7) and remaining.shape == H.shape
    torch.testing.assert_close(x, mixed(H, alpha)[..., 0, :])
    torch.testing.assert_close(remaining, mixed(H, alpha)[..., 1:, :])
