import lightning.pytorch as L
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from hcexp.callbacks import GradientNorms
from hcexp.callbacks.gradients import gradient_groups
from tests.analysis.models import network, tokens

SEQUENCES = tokens(24, 6)


class Language(L.LightningModule):
    """A small model on fixed sequences, one a batch; keeps its gradient norms before clipping, by hand."""

    tokens_per_step = 5

    def __init__(self, mode="dhc"):
        super().__init__()
        self.model = network(mode).float()
        self.by_hand = []

    def training_step(self, batch, batch_idx):
        logits = self.model(batch[:, :-1])
        return cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        groups = gradient_groups(self.model)
        self.by_hand.append({n: torch.cat([p.grad.flatten() for p in g]).norm().item() for n, g in groups.items()})
        torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)

    def train_dataloader(self):
        return DataLoader(SEQUENCES, batch_size=1)


@pytest.mark.parametrize("accumulated", [1, 3])
def test_norms_are_those_of_the_whole_step_before_clipping(fit, memory, accumulated):
    module = Language()
    fit(module, [GradientNorms(every=2)], 5, logger=memory, accumulate_grad_batches=accumulated)
    assert len(module.by_hand) == 5
    assert {name.rpartition("/")[2] for name in memory.curves} == set(module.by_hand[0]) >= {"block_3", "connections_3"}
    for name, curve in memory.curves.items():
        layer = name.removeprefix("train/grad_norm/")
        assert [step for step, _ in curve] == [2, 4]
        assert [value for _, value in curve] == pytest.approx([module.by_hand[1][layer], module.by_hand[3][layer]])


def test_it_changes_nothing(fit, memory):
    plain, watched = Language(), Language()
    fit(plain, [], 2)
    fit(watched, [GradientNorms(every=1)], 2, logger=memory)
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_null_is_off_and_a_mode_without_parameters_has_no_connections(fit, memory):
    fit(Language("pre_norm"), [GradientNorms(every=None)], 1, logger=memory)
    assert memory.curves == {}
    fit(Language("pre_norm"), [GradientNorms(every=1)], 1, logger=memory)
    assert not any("connections" in name for name in memory.curves) and "train/grad_norm/block_1" in memory.curves
