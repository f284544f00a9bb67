import pytest
import torch

from hcexp.configuration import compose
from hcexp.cost.memory import peak_bytes
from hcexp.cost.training_step import Backbone, TrainingStep, device_name, measured_device

CPU = torch.device("cpu")
SMALL = ("model.d=32", "model.layers=2", "model.heads=2", "model.inner=32", "model.vocabulary_size=100")


def step(backbone, *overrides):
    sizes = (*SMALL, "data.sequence_length=16", "data.batch_size=4", "trainer.accelerator=cpu")
    return TrainingStep(compose([*sizes, *overrides]), backbone, compiled=False)


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


def test_a_widened_embedding_is_shared_with_none_that_is_narrower():
    backbone = Backbone(CPU)
    plain, widened = step(backbone), step(backbone, "residual=altup", "residual.embedding=widened")
    assert widened.model.embedding.weight.shape == (128, 64)
    assert widened.model.embedding.weight is not plain.model.embedding.weight
    assert widened.model.blocks[0].attention.qkv.weight is plain.model.blocks[0].attention.qkv.weight
    for one in (plain, widened):
        one()


def test_a_step_does_all_the_work_and_moves_no_weight():
    backbone = Backbone(CPU)
    one = step(backbone, "residual=dhc", "residual.train_b=false")
    before = {name: p.detach().clone() for name, p in one.model.named_parameters()}
    one()
    for name, parameter in one.model.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.isfinite().all()
        assert parameter.grad is None
        assert (parameter in backbone.states) == parameter.requires_grad, name
    moments = [state["exp_avg"] for state in backbone.states.values()]
    assert all(moment.isfinite().all() for moment in moments)
    assert sum(int(moment.any()) for moment in moments) > 10  # a gradient came to all parts of the network


def test_what_a_model_holds_is_its_weights_and_two_moments():
    backbone = Backbone(CPU)
    one, other = step(backbone), step(backbone, "residual=dhc")
    numbers = sum(p.numel() for p in one.model.parameters())
    assert one.resident_bytes == 4 * numbers
    one()
    other()
    counters = 4 * len(list(one.model.parameters()))  # AdamW counts its steps
    assert one.resident_bytes == 3 * 4 * numbers + counters


def test_the_peak_of_a_model_is_the_same_alone_and_beside_others():
    def peak(backbone, mode):
        one = step(backbone, mode)
        one()
        return one.resident_bytes + peak_bytes(one, CPU)

    shared = Backbone(CPU)
    together = {mode: peak(shared, mode) for mode in ("residual=pre_norm", "residual=shc", "residual=dhc")}
    alone = {mode: peak(Backbone(CPU), mode) for mode in together}
    assert together == pytest.approx(alone, rel=1e-3)
    assert together["residual=pre_norm"] < together["residual=shc"] < together["residual=dhc"]
    # At the least weights, gradients and two moments.
    numbers = sum(p.numel() for p in step(shared).model.parameters())
    assert alone["residual=pre_norm"] > 4 * 4 * numbers


def test_a_step_takes_one_micro_batch():
    one = step(Backbone(CPU), "data.batch_size=16", "trainer.accumulate_grad_batches=4", "trainer.devices=2")
    assert one.batch[0].shape == (2, 16) and one.tokens_per_step == 2 * 16


def test_precisions():
    backbone = Backbone(CPU)
    half = step(backbone, "trainer.precision=bf16-true", "residual=dhc")
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in step(backbone, "trainer.precision=bf16-mixed").model.parameters()} == {torch.float32}
    with pytest.raises(ValueError, match="^trainer.precision=16-mixed cannot be measured: choose from 32-true, bf16"):
        step(backbone, "trainer.precision=16-mixed")


def test_the_cpu_if_one_asks_for_it():
    assert measured_device(compose(["trainer.accelerator=cpu"])) == CPU
    assert device_name(CPU).endswith(("CPU thread", "CPU threads"))
