"""What `SetLoss` does beside the losses of `test_perplexity.py`."""

import math

import pytest
import torch

from hcexp.evaluation import SetLoss


def counted(logits, token, **knobs):
    """The results of a model that gives these logits of one token."""
    meter = SetLoss(**knobs)
    meter.update(lambda tokens: torch.tensor([[logits]], dtype=torch.float64), (None, torch.tensor([[token]])))
    return meter.results()


def test_a_known_loss_a_hopeless_model_one_that_diverged_and_sets_of_no_token_or_byte():
    known = {"loss": math.log(4), "perplexity": 4, "bits_per_byte": 2 / 5}
    assert counted([0.0] * 4, 1, text_bytes=5) == pytest.approx(known, rel=1e-12)
    assert counted([0.0, 1e4], 0) == {"loss": 1e4, "perplexity": math.inf}
    for results in (counted([math.nan, 1.0], 0), counted([0.0, 1.0], -100)):
        assert all(math.isnan(value) for value in results.values())
    with pytest.raises(ValueError, match="text_bytes=0: allowed is at least 1"):
        SetLoss(text_bytes=0)


def test_half_precision_of_the_model_narrows_neither_sum_nor_softmax():
    """Lightning converts a whole LightningModule, metrics and their states included."""
    meter = torch.nn.ModuleList([SetLoss()]).to(dtype=torch.bfloat16)[0]
    meter.reset()
    logits = torch.tensor([8.0, 0.99609375]).repeat_interleave(torch.tensor([1, 4000])).bfloat16()
    for _ in range(100):
        meter.update(lambda tokens: logits[None, None], (None, torch.tensor([[0]])))
    expected = -logits.float().log_softmax(0)[0].item()
    assert meter.nats.dtype == torch.float64
    assert meter.results()["loss"] == pytest.approx(expected, rel=1e-7)
