import pytest
import torch
from torch.nn.functional import cross_entropy

from hcexp.analysis.gradients import loss_gradient_norms
from hcexp.callbacks.gradients import gradient_groups
from hcexp.objective import NextToken
from tests.analysis.models import LAYERS, network, tokens
from tests.registered import MODES


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_is_in_one_layer(mode):
    model = network(mode)
    groups = gradient_groups(model)
    grouped = [id(p) for group in groups.values() for p in group]
    assert len(grouped) == len(set(grouped)) and set(grouped) == {id(p) for p in model.parameters()}
    assert list(groups)[: 1 + LAYERS] == ["embedding", *(f"block_{k + 1}" for k in range(LAYERS))]


def test_connections_belong_to_the_block_that_they_carry():
    model = network("dhc")
    groups = gradient_groups(model)
    assert [name for name in groups if name.startswith("connections")] == [f"connections_{k}" for k in (1, 2, 3)]
    expected = {id(p) for k in (2, 3) for p in model.stream.connections[k].parameters()}
    assert {id(p) for p in groups["connections_2"]} == expected


def test_what_is_frozen_is_left_out_and_ten_blocks_stand_in_their_order():
    model = network("shc", "residual.train_wc=false", "residual.train_b=false")
    model.blocks = torch.nn.ModuleList([*model.blocks] * 4)
    groups = gradient_groups(model)
    assert not any(name.startswith("connections") for name in groups)
    assert "block_02" in groups and "block_2" not in groups


def test_the_loss_is_the_mean_over_all_tokens_of_all_batches():
    """A norm is that of a layer's gradients as one vector."""
    model = network("dhc")
    batches = [(tokens(n, seq, seed=seed), tokens(n, seq, seed=9 + seed)) for n, seq, seed in ((2, 5, 1), (1, 3, 2))]
    found = loss_gradient_norms(model, NextToken(), batches)
    assert all(p.grad is None for p in model.parameters())
    nats = [cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum") for x, y in batches]
    (sum(nats) / 13).backward()
    groups = gradient_groups(model).items()
    expected = {name: torch.cat([p.grad.flatten() for p in group]).norm().item() for name, group in groups}
    assert found == pytest.approx(expected, rel=1e-9) and "block_2" in found
