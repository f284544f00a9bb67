import math

import pytest
import torch
import torch.nn.functional as F

from hcexp.evaluation import SetLoss


def test_every_token_weighs_the_same():
    nats = torch.rand(100, dtype=torch.float64)
    loss = SetLoss()
    for part in nats.split([1, 60, 0, 39]):
        loss.update(part.sum(), len(part))
    torch.testing.assert_close(loss.compute(), nats.mean())


@pytest.mark.parametrize("distribution", [[0.25] * 4, [0.5, 0.25, 0.125, 0.125], [1.0]])
def test_the_perplexity_of_a_known_distribution(distribution):
    """A model that knows the distribution has its entropy as loss: a uniform one of k has perplexity k."""
    p = torch.tensor(distribution, dtype=torch.float64)
    tokens = torch.repeat_interleave(torch.arange(len(p)), (p * 80).long())
    loss = SetLoss()
    loss.update(F.cross_entropy(p.log().expand(len(tokens), -1), tokens, reduction="sum"), len(tokens))
    entropy = -sum(x * math.log(x) for x in distribution)
    assert loss.results() == {
        "loss": pytest.approx(entropy, abs=1e-12),
        "perplexity": pytest.approx(math.exp(entropy)),
    }


def test_bits_per_byte_are_the_code_length_over_the_bytes():
    # 30 tokens of 8 bits each, two bytes a token: 4 bits a byte.
    loss = SetLoss(text_bytes=60)
    loss.update(torch.tensor(30 * 8 * math.log(2)), 30)
    assert loss.results()["bits_per_byte"] == pytest.approx(4)
    assert loss.results()["perplexity"] == pytest.approx(256)


def test_many_small_losses_are_not_lost():
    loss = SetLoss()
    loss.update(torch.tensor(2.0**24), 1)
    for _ in range(64):
        loss.update(torch.tensor(1.0), 0)
    assert loss.compute() == 2**24 + 64  # in float32 it would stay 2**24


def test_a_hopeless_model_has_infinite_perplexity():
    loss = SetLoss()
    loss.update(torch.tensor(1e4), 1)
    assert loss.results() == {"loss": 1e4, "perplexity": math.inf}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_token_gives_nan():
    assert math.isnan(SetLoss().compute())


def test_processes_add_their_sums():
    """What torchmetrics does under several processes, with the gathering in one of them."""
    other = SetLoss(text_bytes=10)
    other.update(torch.tensor(9.0), 1)
    gathered = {"float64": other.nats, "int64": other.tokens}
    loss = SetLoss(text_bytes=10)
    loss.dist_sync_fn = lambda x, group: [x, gathered[str(x.dtype).removeprefix("torch.")]]
    loss.distributed_available_fn = lambda: True
    loss.update(torch.tensor(1.0), 4)
    loss._to_sync = True
    assert loss.compute() == 2
    assert loss.results()["bits_per_byte"] == pytest.approx(10 / math.log(2) / 10)
    assert loss.nats == 1  # each keeps its own


def test_a_set_of_no_bytes():
    with pytest.raises(ValueError, match="text_bytes=0: allowed is at least 1"):
        SetLoss(text_bytes=0)


def test_half_precision_of_the_model_does_not_narrow_the_sum():
    """Lightning converts a whole LightningModule, metrics and their states included."""
    module = torch.nn.ModuleList([SetLoss(text_bytes=1)]).to(dtype=torch.bfloat16)
    for _ in range(1000):
        module[0].update(torch.tensor(20.25), 3)
    assert module[0].compute().item() == 20.25 / 3
    module[0].reset()
    module[0].update(torch.tensor(20000.0), 1)
    module[0].update(torch.tensor(20.0), 1)
    assert module[0].compute().item() == 10010.0
