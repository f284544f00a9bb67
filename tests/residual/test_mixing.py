"""The two forms of the width connection are one."""

import pytest
import torch

from hcexp.residual.mixing import in_one_product, stream_by_stream


@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("tokens", [(), (2, 5)], ids=["static", "dynamic"])
def test_forms_agree(n, tokens):
    torch.manual_seed(0)
    H = torch.randn(2, 5, n, 7, dtype=torch.float64, requires_grad=True)
    alpha = torch.randn(*tokens, n, n + 1, dtype=torch.float64, requires_grad=True)
    results = []
    for form in (in_one_product, stream_by_stream):
        x, remaining = form(H, alpha)
        assert x.shape == (2, 5, 7) and remaining.shape == (2, 5, n, 7)
        loss = (x.sin()).sum() + (remaining.cos()).sum()
        results.append((x, remaining, *torch.autograd.grad(loss, (H, alpha))))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
