import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from hcexp.callbacks import GradientNorms
from hcexp.callbacks.gradients import gradient_groups
from tests.analysis.models import network, tokens
from tests.callbacks.conftest import Regression

SEQUENCES = tokens(24, 6)


class Language(Regression):
    """A small model on fixed sequences, one a batch; keeps its gradient norms before clipping, by hand."""

    def __init__(self, mode="dhc"):
        super().__init__()
        self.model, self.by_hand = network(mode).float(), []

    def training_step(self, batch, batch_idx):
        logits = self.model(batch[:, :-1])
        return cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def configure_gradient_clipping(self, *_, **__):
        groups = gradient_groups(self.model)
        self.by_hand.append({n: torch.cat([p.grad.flatten() for p in g]).norm().item() for n, g in groups.items()})
        torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)

    def train_dataloader(self):
        return DataLoader(SEQUENCES, batch_size=1)


@pytest.mark.parametrize(("mode", "accumulated"), [("dhc", 1), ("dhc", 3), ("pre_norm", 1)])
def test_norms_are_those_of_the_whole_step_before_clipping_and_change_nothing(fit, memory, mode, accumulated):
    module, plain = Language(mode), Language(mode)
    fit(module, [GradientNorms(every=2)], 5, logger=memory, accumulate_grad_batches=accumulated)
    layers = {name.rpartition("/")[2] for name in memory.curves}
    assert layers == set(module.by_hand[0]) and "block_3" in layers
    assert ("connections_3" in layers) == (mode == "dhc"), "a mode without parameters has none"
    for name, curve in memory.curves.items():
        layer = name.removeprefix("train/grad_norm/")
        assert curve == [(step, pytest.approx(module.by_hand[step - 1][layer])) for step in (2, 4)]
    fit(plain, [GradientNorms(every=None)], 5, logger=(off := type(memory)()), accumulate_grad_batches=accumulated)
    assert off.curves == {}
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), module.parameters(), strict=True))
