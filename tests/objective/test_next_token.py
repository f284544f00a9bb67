import math

import pytest
import torch
from torch import nn

from hcexp.objective import NextToken

INPUTS, TARGETS = torch.tensor([[0, 1, 2], [3, 4, 0]]), torch.tensor([[1, 2, 3], [4, 0, 1]])


class Table(nn.Module):
    """Logits of a token are its row; the weights are drawn as a real model draws its own."""

    def __init__(self, vocabulary=5):
        super().__init__()
        self.rows = nn.Embedding(vocabulary, vocabulary)
        self.drawn = self.compiled = 0

    def forward(self, tokens):
        return self.rows(tokens)

    def reset_parameters(self, seed):
        self.drawn += 1
        with torch.no_grad():
            self.rows.weight.copy_(torch.randn(self.rows.weight.shape, generator=torch.Generator().manual_seed(seed)))

    def compile_blocks(self):
        self.compiled += 1


def by_hand(weight, inputs, targets):
    """Nats of each token that has a target, without torch's own cross entropy."""
    nats = []
    for token, target in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True):
        row = weight[token].tolist()
        if target >= 0:
            nats.append(math.log(sum(math.exp(x) for x in row)) - row[target])
    return nats


def test_the_loss_is_the_mean_of_the_tokens_nats_and_the_objective_is_pure():
    model = Table()
    losses = NextToken()(model, (INPUTS, TARGETS))
    nats = by_hand(model.rows.weight, INPUTS, TARGETS)
    assert losses.minimised.item() == pytest.approx(sum(nats) / len(nats))
    assert list(losses.reported) == ["loss"] and losses.reported["loss"].item() == losses.minimised.item()
    assert losses.minimised.requires_grad and not losses.reported["loss"].requires_grad
    assert model.rows.weight.grad is None


def test_the_z_loss_is_the_mean_squared_log_partition_and_is_not_reported():
    plain, with_z = Table(), Table()
    with_z.load_state_dict(plain.state_dict())
    expected, losses = NextToken()(plain, (INPUTS, TARGETS)), NextToken(z_loss=0.01)(with_z, (INPUTS, TARGETS))
    assert losses.reported["loss"].item() == expected.minimised.item()
    expected.minimised.backward()
    losses.minimised.backward()
    weight = plain.rows.weight.detach()
    z = weight.logsumexp(-1)
    counts = torch.bincount(INPUTS.flatten(), minlength=5) / INPUTS.numel()
    assert (losses.minimised - expected.minimised).item() == pytest.approx(
        0.01 * (counts * z**2).sum().item(), rel=1e-5
    )
    gradient = 0.01 * counts[:, None] * 2 * z[:, None] * weight.softmax(-1)  # d z² = 2 z softmax
    torch.testing.assert_close(with_z.rows.weight.grad - plain.rows.weight.grad, gradient)


def test_a_negative_z_loss_is_refused():
    with pytest.raises(ValueError, match=r"^objective\.z_loss=-0\.1 .*0 or more$"):
        NextToken(z_loss=-0.1)


def test_bfloat16_logits_are_summed_in_float32():
    model = Table().bfloat16()
    loss = NextToken()(model, (INPUTS, TARGETS)).minimised
    assert loss.dtype == torch.float32
    nats = by_hand(model.rows.weight.float(), INPUTS, TARGETS)
    assert loss.item() == pytest.approx(sum(nats) / len(nats), rel=1e-5)
