import pytest
import torch
from torch.nn.functional import cross_entropy

from hcexp.configuration import compose
from hcexp.cost import count_allocated, peak_bytes
from hcexp.cost.allocated import Living
from hcexp.run import build_model

SIZES = ("model.d=64", "model.layers=3", "model.heads=4", "model.inner=160", "model.vocabulary_size=2000")
LENGTH = 64


def network(*overrides):
    return build_model(compose([*SIZES, *overrides]))


def counted(*overrides, sequences=4, dtype=torch.float32, mixed=False):
    return count_allocated(network(*overrides), sequences=sequences, sequence_length=LENGTH, dtype=dtype, mixed=mixed)


def measured(*overrides, sequences=4, dtype=torch.float32, mixed=False):
    """Of a real step, by torch's profiler; the gradients are there before."""
    model = network(*overrides).to(dtype).to_empty(device="cpu")
    model.reset_parameters(0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    tokens = torch.randint(2000, (sequences, LENGTH))

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = model(tokens)
        wide = logits.float().flatten(0, 1)
        del logits
        loss = cross_entropy(wide, tokens.flatten())
        del wide
        loss.backward()

    step()
    return peak_bytes(step, torch.device("cpu"))


@pytest.mark.parametrize("mode", ["pre_norm", "resi_dual", "altup", "shc", "dhc"])
@pytest.mark.parametrize("checkpointing", ["false", "true"])
def test_the_peak_is_that_of_a_real_step(mode, checkpointing):
    overrides = (f"residual={mode}", f"model.activation_checkpointing={checkpointing}")
    assert counted(*overrides).bytes(4) == pytest.approx(measured(*overrides), rel=0.03)


@pytest.mark.parametrize("way", [{"mixed": True}, {"dtype": torch.bfloat16}], ids=str)
def test_in_bfloat16_too(way):
    assert counted("residual=dhc", **way).bytes(4) == pytest.approx(measured("residual=dhc", **way), rel=0.05)


def test_what_blocks_keep_grows_with_them_and_not_when_they_are_made_again():
    def kept(layers, checkpointing):
        return counted(f"model.layers={layers}", f"model.activation_checkpointing={checkpointing}").kept

    assert kept(4, "false") - kept(3, "false") == kept(3, "false") - kept(2, "false")
    # Made again, a block leaves the hidden vectors that came in, in float32.
    assert kept(4, "true") - kept(3, "true") == LENGTH * 64 * 4
    assert kept(4, "false") > 5 * kept(4, "true")


def test_autocast_keeps_a_copy_of_every_weight_that_it_multiplies_with():
    copies = counted(mixed=True).fixed - counted().fixed
    weights = sum(p.numel() for p in network().parameters())
    assert copies == pytest.approx(2 * weights, rel=0.02)


def test_the_loss_needs_three_tensors_of_logits():
    assert counted(mixed=False).logits == pytest.approx(3 * 4 * 2048 * LENGTH, rel=0.02)  # 2000 padded to 2048


def test_what_is_let_go_makes_room():
    with Living() as living:
        a = torch.empty(1000)
        b = a.view(10, 100)  # no memory of its own
        del a
        assert living.now == 4000
        del b
        c = torch.empty(500)
        assert (living.now, living.peak) == (2000, 4000)
        del c
    assert living.now == 0
