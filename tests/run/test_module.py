import math

import lightning.pytorch as L
import pytest
import torch
from torch import nn

from hcexp.evaluation.perplexity.set_loss import SetLoss
from hcexp.objective import NextToken
from hcexp.optim import Schedule
from hcexp.run.module import TrainingModule
from tests.objective.test_next_token import INPUTS, TARGETS, Table, by_hand


class TwoSets:
    headline = None

    def meters(self):
        return nn.ModuleList([SetLoss(100), SetLoss(200)])


@pytest.fixture
def make():
    def make(seed=0, lr=0.1, **knobs):
        optimizer = lambda model: torch.optim.SGD(model.parameters(), lr=lr)  # noqa: E731
        module = TrainingModule(
            Table(),
            NextToken(),
            optimizer,
            Schedule(10),
            [TwoSets()],
            seed=seed,
            samples_per_step=1,
            tokens_per_step=6,
            **knobs,
        )
        module.configure_model()
        return module

    return make


def test_validation_weighs_tokens_and_leaves_padding_out(make):
    module = make()
    weight = module.model.rows.weight
    full, padded = TARGETS, torch.tensor([[2, -100, -100], [-100, -100, -100]])
    module.validation_step((INPUTS, full), 0, 0)
    module.validation_step((INPUTS, padded), 1, 0)
    module.validation_step((INPUTS, padded), 0, 1)
    first, second = (loss.results() for loss in module.meters)
    nats = by_hand(weight, INPUTS, full) + by_hand(weight, INPUTS, padded)
    assert len(nats) == 7
    assert first["loss"] == pytest.approx(sum(nats) / 7)
    assert first["bits_per_byte"] == pytest.approx(sum(nats) / math.log(2) / 100)
    (only,) = by_hand(weight, INPUTS, padded)
    assert second["loss"] == pytest.approx(only)


@pytest.mark.parametrize("limit", [None, 0.01, 1e6])
def test_grad_norm_is_that_before_clipping(make, limit):
    module = make()
    module.training_step((INPUTS, TARGETS), 0)["loss"].backward()
    gradient = module.model.rows.weight.grad.clone()
    module.configure_gradient_clipping(None, limit)
    assert module.grad_norm.item() == pytest.approx(gradient.norm().item())
    kept = min(1.0, (limit or math.inf) / gradient.norm().item())
    torch.testing.assert_close(module.model.rows.weight.grad, kept * gradient, rtol=1e-3, atol=0)


@pytest.mark.parametrize("limit", [-1.0, 0])
def test_a_limit_that_would_turn_or_stop_the_gradients_is_refused(make_run, limit):
    with pytest.raises(ValueError, match=r"^trainer\.gradient_clip_val=.*more than 0, or null"):
        make_run(f"trainer.gradient_clip_val={limit}").train()


def test_no_clipping_is_a_choice(make_run):
    assert make_run("trainer.gradient_clip_val=null").train()["state"] == "finished"


def test_weights_are_drawn_once_and_by_the_seed(make):
    module = make(seed=3, compile=True)
    before = module.model.rows.weight.clone()
    with torch.no_grad():
        module.model.rows.weight += 1  # as training would
    module.configure_model()  # Lightning calls it again before the last validation
    assert (module.model.drawn, module.model.compiled) == (1, 1)
    assert torch.equal(module.model.rows.weight, before + 1)
    assert torch.equal(make(seed=3).model.rows.weight, before)
    assert not torch.equal(make(seed=4).model.rows.weight, before)
    assert make().model.compiled == 0


def test_the_schedule_steps_with_the_optimizer(make):
    module = make()
    configured = module.configure_optimizers()
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(10):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert rates[0] == 0.1 and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01)
    assert isinstance(module, L.LightningModule)


DROPOUT = ["residual._target_=tests.model.history.Dense", "+residual.dropout=0.5"]


def final_weights(run):
    return {name: p.detach() for name, p in run.trainer.lightning_module.model.named_parameters()}


def test_an_interrupted_run_drops_what_an_uninterrupted_one_drops(make_run, tmp_path, interrupt):
    knobs = [*DROPOUT, "trainer.accumulate_grad_batches=2", "callbacks.checkpoint.every_n_steps=2"]
    calm = make_run(*knobs, f"paths.runs={tmp_path}/calm")
    calm.train()
    interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        make_run(*knobs).train()
    interrupt(None)
    resumed = make_run(*knobs)
    resumed.train()
    expected, found = final_weights(calm), final_weights(resumed)
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


def test_randomness_differs_in_seed_step_micro_batch_and_process(make_run, tmp_path, monkeypatch):
    drawn = []
    genuine = TrainingModule.training_step

    def step(self, batch, batch_idx):
        drawn[-1].append(torch.rand(()).item())
        return genuine(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", step)
    for seed, rank in ((0, 0), (1, 0), (0, 1)):
        monkeypatch.setattr(TrainingModule, "global_rank", rank)
        drawn.append([])
        make_run(f"seed={seed}", "trainer.accumulate_grad_batches=2", f"paths.runs={tmp_path}/{rank}").train()
    assert [len(set(row)) for row in drawn] == [12] * 3
    assert len({number for row in drawn for number in row}) == 36
