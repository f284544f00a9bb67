"""The projection of a normed vector, from the raw one."""

import pytest
import torch
from torch import nn

from hcexp.residual.projection import normed_projection

NORMS = {
    "layer norm": nn.LayerNorm(7, elementwise_affine=False),
    "layer norm with weights": nn.LayerNorm(7, bias=False),
    "layer norm with weights and bias": nn.LayerNorm(7),
    "rms norm": nn.RMSNorm(7, eps=1e-6, elementwise_affine=False),
    "rms norm with weights": nn.RMSNorm(7),
    "another norm": nn.Sequential(nn.Linear(7, 7), nn.LayerNorm(7)),
}


@pytest.mark.parametrize("name", NORMS)
def test_equals_norm_then_project(name):
    torch.manual_seed(0)
    norm = NORMS[name].double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    # A mean that is large against the deviation is where centring goes wrong.
    H = (torch.randn(2, 3, 4, 7, dtype=torch.float64) + 3).requires_grad_()
    W = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    plain, fast = norm(H) @ W, normed_projection(H, W, norm)
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    leaves = [H, W, *norm.parameters()]
    weight = torch.randn(plain.shape, dtype=torch.float64)
    gradients = [torch.autograd.grad((end * weight).sum(), leaves) for end in (fast, plain)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_bfloat16_is_projected_in_float32():
    H = torch.randn(4, 7, dtype=torch.bfloat16)
    assert normed_projection(H, torch.randn(7, 2, dtype=torch.bfloat16), NORMS["layer norm"]).dtype == torch.float32


def test_no_normed_copy_is_kept_for_the_backward_pass():
    """What is saved beside the input itself is small: a number a vector, and a skinny projection."""
    H, W, saved = torch.randn(64, 4, 7, requires_grad=True), torch.randn(7, 3, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        normed_projection(H, W, nn.LayerNorm(7, elementwise_affine=False))
    assert not [t for t in saved if t.numel() >= H.numel() and t.data_ptr() != H.data_ptr()]
