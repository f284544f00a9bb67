"""What `conf/trainer/` makes of Lightning's strategies; tests/test_processes.py trains with them."""

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.strategies import DDPStrategy

from hcexp.configuration import compose
from hcexp.optim import FullySharded
from hcexp.optim.fully_sharded import _parts


def trainer(*overrides):
    return instantiate(compose(["trainer.accelerator=cpu", "trainer.devices=2", *overrides]).trainer, logger=False)


@pytest.mark.parametrize("choice, strategy", [("ddp", DDPStrategy), ("fsdp", FullySharded)])
def test_a_choice_of_trainer_is_a_strategy_over_all_devices(choice, strategy):
    made = trainer(f"trainer={choice}", "+trainer.num_nodes=3")
    assert type(made.strategy) is strategy and made.world_size == 6
    assert made.max_steps == compose([f"trainer={choice}"]).steps
    assert compose([f"trainer={choice}"]).trainer.devices == "auto"


def test_the_strategy_takes_its_knobs():
    sharded = "trainer.strategy.sharded_checkpoints=true"
    strategy = trainer("trainer=fsdp", sharded, "+trainer.strategy.process_group_backend=gloo").strategy
    assert strategy._save_distributed_checkpoint and strategy.process_group_backend == "gloo"
    assert not trainer("trainer=fsdp").strategy._save_distributed_checkpoint


def test_what_is_not_sharded_takes_its_optimizer_state_whole():
    parameters = [torch.nn.Parameter(torch.ones(size)) for size in (3, 1)]
    optimizer = torch.optim.AdamW(parameters)
    sum(parameter.sum() for parameter in parameters).backward()
    optimizer.step()
    state = optimizer.state_dict()
    fresh = torch.optim.AdamW(parameters)
    fresh.load_state_dict(_parts(fresh, state))
    assert [fresh.state[p]["step"].item() for p in parameters] == [1, 1]
    assert all(torch.equal(fresh.state[p]["exp_avg"], optimizer.state[p]["exp_avg"]) for p in parameters)
