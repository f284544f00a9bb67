import pytest
import torch

from hcexp.configuration import build_model, compose
from hcexp.cost.resident import replicated, sharded, single

SIZES = ("model.d=32", "model.layers=4", "model.heads=2", "model.inner=48", "model.vocabulary_size=128")
EMBEDDING, BLOCK = 128 * 32, 4 * 32 * 32 + 3 * 32 * 48
ALL = EMBEDDING + 4 * BLOCK


def network(*overrides):
    return build_model(compose([*SIZES, *overrides]))


def test_one_device_holds_four_numbers_a_parameter_and_ddp_the_gradients_twice():
    for dtype, size in ((torch.float32, 4), (torch.bfloat16, 2)):
        held = single(network(), dtype)
        parts = held.weights, held.gradients, held.moments, held.gathered
        assert parts == (size * ALL, size * ALL, 2 * size * ALL, 0) and held.total == 4 * size * ALL
        copied = replicated(network(), dtype)
        assert copied.gathered == held.gradients and copied.total - held.total == size * ALL


@pytest.mark.parametrize("devices", [2, 8])
def test_fsdp_shares_everything_and_puts_blocks_together(devices):
    held = sharded(network(), torch.float32, devices)
    assert held.weights == 4 * ALL / devices and held.moments == 8 * ALL / devices
    # Two blocks' weights and one's gradients; embedding and its gradient.
    assert held.gathered == 4 * (3 * BLOCK + 2 * EMBEDDING)


def test_the_residual_streams_parameters_lie_outside_the_blocks():
    more = 8 * (4 * 4 + 4 * 2)  # SHC×4: n (n + 2) a sublayer
    plain, shc = (sharded(network(*o), torch.float32, 2) for o in ((), ("residual=shc",)))
    assert shc.gathered - plain.gathered == 2 * 4 * more


def test_what_is_frozen_has_neither_gradient_nor_moments():
    frozen = 8 * 4
    held = single(network("residual=shc", "residual.train_b=false"), torch.float32)
    assert held.weights - held.gradients == 4 * frozen and held.moments == 2 * held.gradients


def test_a_7b_on_64_by_hand():
    held = sharded(build_model(compose(["model=7b"])), torch.float32, 64)
    assert held.weights == 4 * 6_888_095_744 / 64
    block = 4 * 4096**2 + 3 * 4096 * 11008
    assert held.gathered == 4 * (3 * block + 2 * 2 * 50304 * 4096)
