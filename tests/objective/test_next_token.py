import math

import lightning.pytorch as L
import pytest
import torch
from torch import nn

from hcexp.evaluation.perplexity.set_loss import SetLoss
from hcexp.objective import NextToken
from hcexp.optim import Schedule


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


class OneSet:
    every = None

    def losses(self):
        return nn.ModuleList([SetLoss(100), SetLoss(200)])


@pytest.fixture
def make():
    def make(seed=0, lr=0.1, **knobs):
        objective = NextToken(
            Table(), lambda m: torch.optim.SGD(m.parameters(), lr=lr), Schedule(10), OneSet(), seed=seed,
            tokens_per_step=6, **knobs,
        )  # fmt: skip
        objective.configure_model()
        return objective

    return make


INPUTS, TARGETS = torch.tensor([[0, 1, 2], [3, 4, 0]]), torch.tensor([[1, 2, 3], [4, 0, 1]])


def by_hand(weight, inputs, targets):
    """Nats of each token that has a target, without torch's own cross entropy."""
    nats = []
    for token, target in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True):
        row = weight[token].tolist()
        if target >= 0:
            nats.append(math.log(sum(math.exp(x) for x in row)) - row[target])
    return nats


def test_the_loss_is_the_mean_of_the_tokens_nats(make):
    objective = make()
    outputs = objective.training_step((INPUTS, TARGETS), 0)
    nats = by_hand(objective.model.rows.weight, INPUTS, TARGETS)
    assert outputs["loss"].item() == pytest.approx(sum(nats) / len(nats))
    assert outputs["cross_entropy"].item() == outputs["loss"].item()
    assert outputs["loss"].requires_grad and not outputs["cross_entropy"].requires_grad


def test_the_z_loss_is_the_mean_squared_log_partition(make):
    plain, with_z = make(), make(z_loss=0.01)
    outputs = with_z.training_step((INPUTS, TARGETS), 0)
    expected = plain.training_step((INPUTS, TARGETS), 0)["loss"]
    assert outputs["cross_entropy"].item() == expected.item()
    expected.backward()
    outputs["loss"].backward()
    weight = plain.model.rows.weight.detach()
    z = weight.logsumexp(-1)
    counts = torch.bincount(INPUTS.flatten(), minlength=5) / INPUTS.numel()
    assert (outputs["loss"] - expected).item() == pytest.approx(0.01 * (counts * z**2).sum().item(), rel=1e-5)
    # d z² = 2 z softmax
    gradient = 0.01 * counts[:, None] * 2 * z[:, None] * weight.softmax(-1)
    torch.testing.assert_close(with_z.model.rows.weight.grad - plain.model.rows.weight.grad, gradient)


def test_a_negative_z_loss_is_refused(make):
    with pytest.raises(ValueError, match=r"^objective\.z_loss=-0\.1 .*0 or more$"):
        make(z_loss=-0.1)


def test_validation_weighs_tokens_and_leaves_padding_out(make):
    objective = make()
    weight = objective.model.rows.weight
    full, padded = TARGETS, torch.tensor([[2, -100, -100], [-100, -100, -100]])
    objective.validation_step((INPUTS, full), 0, 0)
    objective.validation_step((INPUTS, padded), 1, 0)
    objective.validation_step((INPUTS, padded), 0, 1)
    first, second = (loss.results() for loss in objective.losses)
    nats = by_hand(weight, INPUTS, full) + by_hand(weight, INPUTS, padded)
    assert len(nats) == 7
    assert first["loss"] == pytest.approx(sum(nats) / 7)
    assert first["bits_per_byte"] == pytest.approx(sum(nats) / math.log(2) / 100)
    (only,) = by_hand(weight, INPUTS, padded)
    assert second["loss"] == pytest.approx(only)


@pytest.mark.parametrize("limit", [None, 0.01, 1e6])
def test_grad_norm_is_that_before_clipping(make, limit):
    objective = make()
    objective.training_step((INPUTS, TARGETS), 0)["loss"].backward()
    gradient = objective.model.rows.weight.grad.clone()
    objective.configure_gradient_clipping(None, limit)
    assert objective.grad_norm.item() == pytest.approx(gradient.norm().item())
    kept = min(1.0, (limit or math.inf) / gradient.norm().item())
    torch.testing.assert_close(objective.model.rows.weight.grad, kept * gradient, rtol=1e-3, atol=0)


@pytest.mark.parametrize("limit", [-1.0, 0])
def test_a_limit_that_would_turn_or_stop_the_gradients_is_refused(make_run, limit):
    with pytest.raises(ValueError, match=r"^trainer\.gradient_clip_val=.*more than 0, or null"):
        make_run(f"trainer.gradient_clip_val={limit}").train()


def test_no_clipping_is_a_choice(make_run):
    assert make_run("trainer.gradient_clip_val=null").train()["state"] == "finished"


def test_bfloat16_logits_are_summed_in_float32(make):
    objective = make()
    objective.model.bfloat16()
    outputs = objective.training_step((INPUTS, TARGETS), 0)
    assert outputs["loss"].dtype == torch.float32
    nats = by_hand(objective.model.rows.weight.float(), INPUTS, TARGETS)
    assert outputs["loss"].item() == pytest.approx(sum(nats) / len(nats), rel=1e-5)


def test_weights_are_drawn_once_and_by_the_seed(make):
    objective = make(seed=3, compile=True)
    before = objective.model.rows.weight.clone()
    with torch.no_grad():
        objective.model.rows.weight += 1  # as training would
    objective.configure_model()  # Lightning calls it again before the last validation
    assert (objective.model.drawn, objective.model.compiled) == (1, 1)
    assert torch.equal(objective.model.rows.weight, before + 1)
    assert torch.equal(make(seed=3).model.rows.weight, before)
    assert not torch.equal(make(seed=4).model.rows.weight, before)
    assert make().model.compiled == 0


def test_the_schedule_steps_with_the_optimizer(make):
    objective = make()
    configured = objective.configure_optimizers()
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(10):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert rates[0] == 0.1 and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01)
    assert isinstance(objective, L.LightningModule)


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
    genuine = NextToken.training_step

    def step(self, batch, batch_idx):
        drawn[-1].append(torch.rand(()).item())
        return genuine(self, batch, batch_idx)

    monkeypatch.setattr(NextToken, "training_step", step)
    for seed, rank in ((0, 0), (1, 0), (0, 1)):
        monkeypatch.setattr(NextToken, "global_rank", rank)
        drawn.append([])
        make_run(f"seed={seed}", "trainer.accumulate_grad_batches=2", f"paths.runs={tmp_path}/{rank}").train()
    assert [len(set(row)) for row in drawn] == [12] * 3
    assert len({number for row in drawn for number in row}) == 36
