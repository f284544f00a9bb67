import math

import pytest
import torch

from hcexp.evaluation import SetLoss
from tests.evaluation.models import answering


def counted(nats, text_bytes=None):
    """The meter of a model that gives the first of two tokens so many nats, a batch for each row."""
    meter = SetLoss(text_bytes)
    for row in nats:
        row = torch.as_tensor(row, dtype=torch.float64)
        logits = torch.stack((torch.zeros_like(row), torch.log(torch.expm1(row))), -1)
        meter.update(answering(logits[None]), (None, torch.zeros(1, len(row), dtype=torch.int64)))
    return meter


def test_every_token_weighs_the_same_and_padding_nothing():
    nats = torch.rand(100, dtype=torch.float64)
    meter = counted(nats.split([1, 60, 39]))
    targets = torch.tensor([[-100, 1, -100]])
    meter.update(answering(torch.zeros(1, 3, 4, dtype=torch.float64)), (None, targets))
    assert meter.results()["loss"] == pytest.approx((nats.sum().item() + math.log(4)) / 101, rel=1e-12)
    assert meter.tokens == 101


@pytest.mark.parametrize("distribution", [[0.25] * 4, [0.5, 0.25, 0.125, 0.125], [1.0]])
def test_the_perplexity_of_a_known_distribution(distribution):
    """A model that knows the distribution has its entropy as loss: a uniform one of k has perplexity k."""
    p = torch.tensor(distribution, dtype=torch.float64)
    tokens = torch.repeat_interleave(torch.arange(len(p)), (p * 80).long())[None]
    meter = SetLoss(text_bytes=160)
    meter.update(answering(p.log().expand(1, tokens.numel(), -1)), (None, tokens))
    entropy = -sum(x * math.log(x) for x in distribution)
    assert meter.results() == {
        "loss": pytest.approx(entropy, abs=1e-12),
        "perplexity": pytest.approx(math.exp(entropy)),
        "bits_per_byte": pytest.approx(entropy / math.log(2) / 2, abs=1e-12),
    }


def test_many_small_losses_are_not_lost():
    meter = counted([])
    meter.nats += 2**24
    for _ in range(64):
        meter.update(answering(torch.tensor([[[0.0, math.log(math.e - 1)]]])), (None, torch.tensor([[0]])))
    assert meter.nats.item() == pytest.approx(2**24 + 64, abs=1e-4)  # in float32 it would stay 2**24


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_hopeless_model_and_one_that_diverged():
    meter = SetLoss()
    meter.update(answering(torch.tensor([[[0.0, 1e4]]])), (None, torch.tensor([[0]])))
    assert meter.results() == {"loss": 1e4, "perplexity": math.inf}
    for diverged in (counted([[1.0, math.nan]]), SetLoss()):  # the second has seen no token
        assert all(math.isnan(value) for value in diverged.results().values())


def test_processes_add_their_sums():
    """What torchmetrics does under several processes, with the gathering in one of them."""
    other, meter = counted([[9.0]], 10), counted([[0.25] * 4], 10)
    gathered = {"float64": other.nats, "int64": other.tokens}
    meter.dist_sync_fn = lambda x, group: [x, gathered[str(x.dtype).removeprefix("torch.")]]
    meter.distributed_available_fn = lambda: True
    meter._to_sync = True
    results = meter.results()
    assert results["loss"] == pytest.approx(2)
    assert results["bits_per_byte"] == pytest.approx(10 / math.log(2) / 10)
    assert meter.nats == pytest.approx(1)  # each keeps its own


def test_a_set_of_no_bytes():
    with pytest.raises(ValueError, match="text_bytes=0: allowed is at least 1"):
        SetLoss(text_bytes=0)


def test_half_precision_of_the_model_narrows_neither_sum_nor_softmax():
    """Lightning converts a whole LightningModule, metrics and their states included."""
    meter = torch.nn.ModuleList([SetLoss()]).to(dtype=torch.bfloat16)[0]
    meter.reset()
    logits = torch.tensor([8.0, 0.99609375]).repeat_interleave(torch.tensor([1, 4000])).bfloat16()
    for _ in range(100):
        meter.update(answering(logits[None, None]), (None, torch.tensor([[0]])))
    expected = -logits.float().log_softmax(0)[0].item()
    assert meter.nats.dtype == torch.float64
    assert meter.results()["loss"] == pytest.approx(expected, rel=1e-7)
