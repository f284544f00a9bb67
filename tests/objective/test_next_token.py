import math
from statistics import fmean

import pytest
import torch
from torch import nn

from hcexp.objective import NextToken

INPUTS, TARGETS = torch.tensor([[0, 1, 2], [3, 4, 0]]), torch.tensor([[1, 2, 3], [4, 0, 1]])


def table(vocabulary=5):
    """Logits of a token are its row."""
    torch.manual_seed(0)
    return nn.Embedding(vocabulary, vocabulary)


def by_hand(model):
    """The mean nats of a token, without torch's own cross entropy."""
    pairs = zip(INPUTS.flatten().tolist(), TARGETS.flatten().tolist(), strict=True)
    rows = [(model.weight[token].tolist(), target) for token, target in pairs]
    return pytest.approx(fmean(math.log(sum(map(math.exp, row))) - row[target] for row, target in rows), rel=1e-5)


def test_the_loss_is_the_mean_of_the_tokens_nats_and_the_objective_is_pure():
    model = table()
    losses = NextToken()(model, (INPUTS, TARGETS))
    assert losses.minimised.item() == by_hand(model)
    assert list(losses.reported) == ["loss"] and losses.reported["loss"].item() == losses.minimised.item()
    assert losses.minimised.requires_grad and not losses.reported["loss"].requires_grad
    assert model.weight.grad is None


def test_the_z_loss_is_the_mean_squared_log_partition_and_is_not_reported():
    plain, with_z = table(), table()
    expected, losses = NextToken()(plain, (INPUTS, TARGETS)), NextToken(z_loss=0.01)(with_z, (INPUTS, TARGETS))
    assert losses.reported["loss"].item() == expected.minimised.item()
    expected.minimised.backward()
    losses.minimised.backward()
    weight = plain.weight.detach()
    z = weight.logsumexp(-1)
    counts = torch.bincount(INPUTS.flatten(), minlength=5) / INPUTS.numel()
    torch.testing.assert_close(losses.minimised - expected.minimised, 0.01 * (counts * z**2).sum())
    gradient = 0.01 * counts[:, None] * 2 * z[:, None] * weight.softmax(-1)  # d z² = 2 z softmax
    torch.testing.assert_close(with_z.weight.grad - plain.weight.grad, gradient)


def test_a_negative_z_loss_is_refused():
    with pytest.raises(ValueError, match=r"^objective\.z_loss=-0\.1 .*0 or more$"):
        NextToken(z_loss=-0.1)


def test_bfloat16_logits_are_summed_in_float32():
    model = table().bfloat16()
    loss = NextToken()(model, (INPUTS, TARGETS)).minimised
    assert loss.dtype == torch.float32
    assert loss.item() == by_hand(model)
