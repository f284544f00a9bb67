"""Sets drawn from a known distribution, scored through the trainer by a model that knows it."""

import math

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn

from hcexp.evaluation import TokenSuite
from hcexp.run.module import TrainingModule

# A Markov chain over EOS, which is id 0 of the shipped tokenizer, and five ids.
CHAIN = np.random.default_rng(0).dirichlet(np.full(6, 0.5), size=6) * 0.94 + 0.01
LENGTHS = {"long": 5000, "one_window_and_a_token": 65, "short": 3, "single": 2}


class Knowing(nn.Embedding):
    """Logits (batch, seq, 4128) of the chain, over more entries than there are ids; nothing is drawn."""

    def to_empty(self, device):
        """It keeps its weights."""

    def reset_parameters(self, seed):
        """It keeps its weights."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The folder of the token files, and the ids of each set."""
    folder, draw, sets = tmp_path_factory.mktemp("drawn"), np.random.default_rng(1), {}
    for name, length in LENGTHS.items():
        ids = [0]
        while len(ids) < length:
            ids.append(draw.choice(6, p=CHAIN[ids[-1]]))
        ids = [*ids[1:], 0]  # the stream itself begins with EOS
        ids[0] = ids[0] or 1  # a set of EOS alone has no text
        np.array(ids, "<u2").tofile(folder / f"{name}.npy")
        sets[name] = np.array([0, *ids])
    return folder, sets


@pytest.mark.parametrize("sequence_length", [1, 7, 2048])
def test_the_loss_is_the_cross_entropy_of_every_token(drawn, data, vocabulary, tmp_path, sequence_length):
    """Of a first-order chain every window knows the whole context, so no cut may change a digit."""
    folder, sets = drawn
    if sequence_length != 7:
        sets = {name: ids for name, ids in sets.items() if name != "long"}
    suite = TokenSuite("v2", {name: f"{name}.npy" for name in sets}, folder, vocabulary, eos_ids=[0], batch_size=5)
    suite.prepare(data(sequence_length), tmp_path / "cache")
    logits = torch.full((4096, 4128), -torch.inf, dtype=torch.float64)
    logits[:6, :6] = torch.from_numpy(CHAIN).log()
    module = TrainingModule(
        Knowing.from_pretrained(logits), None, None, None, [suite], seed=0, samples_per_step=1, tokens_per_step=1
    )
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.validate(module, suite.loaders(), verbose=False)

    results, losses, tokenizer = module.validation, [], data().tokenizer
    for name, ids in sets.items():
        nats = -np.log(CHAIN[ids[:-1], ids[1:]])
        losses.append(nats.mean())
        assert results[f"v2/{name}/loss"] == pytest.approx(nats.mean(), rel=1e-12)
        assert results[f"v2/{name}/perplexity"] == pytest.approx(math.exp(nats.mean()), rel=1e-12)
        text = "".join(tokenizer.decode(part.tolist()) for part in np.split(ids, np.flatnonzero(ids == 0)) if len(part))
        text_bytes = len(text.replace(tokenizer.eos, "").encode())
        assert results[f"v2/{name}/bits_per_byte"] == pytest.approx(nats.sum() / math.log(2) / text_bytes, rel=1e-12)
    assert results["v2/mean/loss"] == results[module.headline] == pytest.approx(np.mean(losses), rel=1e-12)
    assert results["v2/mean/perplexity"] == pytest.approx(np.mean(np.exp(losses)), rel=1e-12)
