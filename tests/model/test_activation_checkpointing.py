"""Activations that are made a second time: the same result in less memory."""

from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from hcexp.cost.memory import peak_bytes
from tests.model.history import Dense
from tests.registered import MODES

HISTORY = partial(Dense, dropout=0.2)


def perturb(model):
    draw = torch.Generator().manual_seed(1)
    for parameter in model.stream.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=draw)
    return model


def step(model, seq=17):
    """The loss of a training step; its gradients are in the model."""
    tokens = torch.randint(100, (2, seq), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)  # of what is dropped
    loss = cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten())
    loss.backward()
    return loss


@pytest.mark.parametrize("mode", [*MODES, HISTORY], ids=lambda mode: mode if isinstance(mode, str) else "history")
def test_losses_and_gradients_are_the_same_bit_for_bit(small, mode):
    kept, recomputed = (perturb(small(mode, activation_checkpointing=option)) for option in (False, True))
    assert torch.equal(step(kept), step(recomputed))
    assert kept.state_dict().keys() == recomputed.state_dict().keys()
    for (name, one), other in zip(kept.named_parameters(), recomputed.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name


@pytest.mark.parametrize("mode", ["pre_norm", "two_hop", HISTORY], ids=["tensor", "pair", "history"])
def test_activations_are_made_twice_where_there_is_a_backward_pass_alone(small, mode):
    model = small(mode, activation_checkpointing=True)
    calls = []
    model.blocks[1].feed_forward.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(torch.zeros(1, 5, dtype=torch.int64))
    assert len(calls) == 1
    step(model)
    assert len(calls) == 3


def test_less_memory_is_needed(small):
    def peak(option):
        model = small("dhc", activation_checkpointing=option, d=64, inner=256, layers=6)
        step(model, 128)  # makes the gradients' tensors
        return peak_bytes(lambda: step(model, 128), torch.device("cpu"))

    assert peak(True) < 0.5 * peak(False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "backend"), [("pre_norm", "inductor"), ("dhc", "aot_eager"), ("two_hop", "aot_eager")]
)
def test_compiled_blocks_recompute_too(small, mode, backend, compile_with):
    compile_with(backend)
    eager, compiled = (perturb(small(mode, layers=2, activation_checkpointing=True)) for _ in range(2))
    for block in compiled.blocks:
        block.compile(fullgraph=True)
    torch.testing.assert_close(step(compiled), step(eager), rtol=1e-5, atol=1e-5)
    for (name, one), other in zip(eager.named_parameters(), compiled.named_parameters(), strict=True):
        assert name == other[0] and (other[1].grad - one.grad).norm() <= 1e-3 * one.grad.norm(), name
