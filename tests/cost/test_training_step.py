from functools import cache

import pytest
import torch

from hcexp.configuration import compose
from hcexp.cost.memory import peak_bytes
from hcexp.cost.training_step import Backbone, TrainingStep, device_name, measured_device
from tests.cost.shared import SMALL

CPU = torch.device("cpu")


def step(backbone, *overrides):
    return TrainingStep(compose([*SMALL, "data.batch_size=4", *overrides]), backbone, compiled=False)


def backbone_of(model):
    return {name: p for name, p in model.named_parameters() if not name.startswith("stream.")}


def test_models_share_their_backbone_and_its_optimizer_states():
    backbone = Backbone(CPU)
    modes = ["residual=pre_norm", "residual=shc", "residual=dhc", "residual=dhc"]
    steps = [step(backbone, mode) for mode in modes]
    for one in steps:
        one()
    plain = backbone_of(steps[0].model)
    for other in steps[1:]:
        for name, parameter in backbone_of(other.model).items():
            assert parameter is plain[name]
            assert other.optimizer.state[parameter] is steps[0].optimizer.state[parameter]
    first, second = (dict(one.model.stream.named_parameters()) for one in steps[2:])
    assert first and all(first[name] is not second[name] for name in first)
    widened = step(backbone, "residual=altup", "residual.embedding=widened")
    widened()
    assert widened.model.embedding.weight.shape == (128, 64)
    assert widened.model.embedding.weight is not steps[0].model.embedding.weight
    assert widened.model.blocks[0].attention.qkv.weight is steps[0].model.blocks[0].attention.qkv.weight


def test_a_step_does_all_the_work_and_moves_no_weight():
    backbone = Backbone(CPU)
    one = step(backbone, "residual=dhc", "residual.train_b=false")
    before = {name: p.detach().clone() for name, p in one.model.named_parameters()}
    one()
    for name, parameter in one.model.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.isfinite().all() and parameter.grad is None
        assert (parameter in backbone.states) == parameter.requires_grad, name
    moments = [state["exp_avg"] for state in backbone.states.values()]
    assert all(moment.isfinite().all() for moment in moments)
    assert sum(int(moment.any()) for moment in moments) > 10  # a gradient came to all parts of the network


@cache
def held(mode, *others):
    """The bytes of a model between two steps, and at the peak of one, beside others on its backbone."""
    backbone = Backbone(CPU)
    for other in others:
        step(backbone, f"residual={other}")()
    one = step(backbone, f"residual={mode}")
    weights = one.resident_bytes
    one()
    return one, weights, one.resident_bytes, one.resident_bytes + peak_bytes(one, CPU)


def test_what_a_model_holds_is_its_weights_and_two_moments():
    one, weights, resident, _ = held("pre_norm")
    numbers, counters = sum(p.numel() for p in one.model.parameters()), 4 * len(list(one.model.parameters()))
    assert weights == 4 * numbers and resident == 3 * weights + counters  # AdamW counts its steps


def test_the_peak_of_a_model_is_the_same_alone_and_beside_others():
    modes = ("pre_norm", "shc", "dhc")
    alone, together = ([held(mode, *others)[-1] for mode in modes] for others in ((), ("altup", "dhc")))
    assert together == pytest.approx(alone, rel=1e-3) and alone == sorted(alone)
    assert alone[0] > 4 * held("pre_norm")[1], "at the least weights, gradients and two moments"


def test_a_step_takes_one_micro_batch():
    one = step(Backbone(CPU), "data.batch_size=16", "trainer.accumulate_grad_batches=4", "trainer.devices=2")
    assert one.batch[0].shape == (2, 16) and one.tokens_per_step == 2 * 16


def test_precisions_and_the_device_that_one_asks_for():
    backbone = Backbone(CPU)
    for precision, dtype in (("bf16-true", torch.bfloat16), ("bf16-mixed", torch.float32)):
        made = step(backbone, f"trainer.precision={precision}", "residual=dhc")
        assert {p.dtype for p in made.model.parameters()} == {dtype}
    with pytest.raises(ValueError, match="^trainer.precision=16-mixed cannot be measured: choose from 32-true, bf16"):
        step(backbone, "trainer.precision=16-mixed")
    assert measured_device(compose(["trainer.accelerator=cpu"])) == CPU
    assert device_name(CPU).endswith(("CPU thread", "CPU threads"))
