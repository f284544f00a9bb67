import math
from types import SimpleNamespace

import lightning.pytorch as L
import pytest
import torch

from hcexp.objective import NextToken
from hcexp.optim import Schedule
from hcexp.run.module import TrainingModule
from tests.objective.test_next_token import INPUTS, TARGETS, Table


def make(seed=0, **knobs):
    optimizer = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)  # noqa: E731
    knobs |= {"seed": seed, "samples_per_step": 1, "tokens_per_step": 6}
    module = TrainingModule(Table(), NextToken(z_loss=0.1), optimizer, Schedule(10), [], **knobs)
    module.configure_model()
    return module


@pytest.mark.parametrize("limit", [None, 0.01, 1e6])
def test_grad_norm_is_that_before_clipping(limit):
    module = make()
    outputs = module.training_step((INPUTS, TARGETS), 0)
    assert outputs["loss"] > outputs["reported"]["loss"], "the z-loss is minimised, and not reported"
    outputs["loss"].backward()
    gradient = module.model.rows.weight.grad.clone()
    module.configure_gradient_clipping(None, limit)
    assert module.grad_norm.item() == pytest.approx(gradient.norm().item())
    kept = min(1.0, (limit or math.inf) / gradient.norm().item())
    torch.testing.assert_close(module.model.rows.weight.grad, kept * gradient, rtol=1e-3, atol=0)


def test_a_limit_that_would_turn_or_stop_the_gradients_and_another_way_to_clip_are_refused():
    module = make()
    for limit, algorithm, said in (
        (-1.0, None, r"^trainer\.gradient_clip_val=-1.0 .*more than 0, or null"),
        (0, None, r"^trainer\.gradient_clip_val=0 .*more than 0, or null"),
        (1.0, "value", "trainer.gradient_clip_algorithm=value is not supported: choose norm"),
    ):
        clip = {"gradient_clip_val": limit, "gradient_clip_algorithm": algorithm}
        module.trainer = L.Trainer(**clip, logger=False, enable_checkpointing=False)
        with pytest.raises(ValueError, match=said):
            module.on_fit_start()
    module.trainer.gradient_clip_val = module.trainer.gradient_clip_algorithm = None
    module.on_fit_start()


def test_weights_are_drawn_once_and_by_the_seed():
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


def test_the_schedule_steps_with_the_optimizer():
    configured = make().configure_optimizers()
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(10):
        rates.append(configured["optimizer"].param_groups[0]["lr"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert rates[0] == 0.1 and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_randomness_differs_in_seed_step_micro_batch_and_process_alone():
    """That a run which goes on draws the same is asked of a whole run with dropout."""

    def drawn(seed, rank, step, batch):
        module = make(seed)
        module.trainer = SimpleNamespace(accumulate_grad_batches=2, global_step=step, global_rank=rank)
        module.on_train_batch_start(None, batch)
        return torch.rand(()).item()

    places = [(*where, step, batch) for where in ((0, 0), (1, 0), (0, 1)) for step in range(3) for batch in (0, 1)]
    assert len({drawn(*place) for place in places}) == 18
    assert drawn(1, 0, 2, 5) == drawn(1, 0, 2, 1), "the second micro-batch"
