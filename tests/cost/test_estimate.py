import pytest
from omegaconf import OmegaConf

from hcexp.configuration import compose
from hcexp.cost.estimate import estimate_cost, micro_batch_of


def test_a_recorded_configuration_costs_what_the_composed_one_does():
    config = compose(["residual=dhc", "residual.n=2"])
    config.steps = 5
    recorded = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    assert estimate_cost(recorded) == estimate_cost(config)


def test_sizes_come_from_their_knobs():
    sizes = ["model.d=64", "model.layers=3", "model.heads=2", "data.sequence_length=32", "data.batch_size=6"]
    found = estimate_cost(compose([*sizes, "residual=shc", "residual.n=3"]))
    assert (found.sequence_length, found.micro_batch) == (32, 6)
    plain = 32 * 6 * 64 * 3 * 34 + 5 * 2 * 32 * 32 * 6 * 3
    assert found.activations == plain + 2 * 3 * 32 * 6 * 64 * 3
    assert estimate_cost(compose([*sizes, "residual=post_norm"])).activations == plain
    assert found.flops.residual == 6 * 2 * 64 * 3 * 5 and found.parameters.residual == 6 * 15
    assert found.attention == 3 * 4 * 64 * 32


@pytest.mark.parametrize(
    ("overrides", "size"),
    [
        ([], 48),
        (["trainer.accumulate_grad_batches=4"], 12),
        (["trainer.devices=2", "+trainer.num_nodes=3"], 8),
        (["trainer.devices=[0,3]", "trainer.accumulate_grad_batches=8"], 3),
        (["trainer.devices=auto"], 48),
        (["trainer.devices=-1"], 48),
    ],
)
def test_a_micro_batch_is_what_one_device_takes_at_a_time(overrides, size):
    assert micro_batch_of(compose(["data.batch_size=48", *overrides])) == size


def test_a_batch_that_cannot_be_cut_is_refused():
    config = compose(["data.batch_size=6", "trainer.devices=2", "trainer.accumulate_grad_batches=2"])
    with pytest.raises(ValueError, match="^data.batch_size=6 cannot be cut into 4 .*multiples of 4$"):
        micro_batch_of(config)
