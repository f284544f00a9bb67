from functools import cache

import lightning.pytorch as L
import pytest
import torch

from hcexp.configuration import build_model, compose
from hcexp.cost.allocated import Living, count_allocated
from hcexp.cost.memory import peak_bytes
from hcexp.objective import NextToken
from hcexp.run.module import TrainingModule
from tests.cost.shared import sequences as text

SIZES = ("model.d=64", "model.layers=2", "model.heads=4", "model.inner=160", "model.vocabulary_size=2000")
LENGTH = 64


def network(*overrides):
    return build_model(compose([*SIZES, *overrides]))


PRECISIONS = {
    "32-true": (torch.float32, False),
    "bf16-mixed": (torch.float32, True),
    "bf16-true": (torch.bfloat16, False),
}


@cache
def counted(*overrides, sequences=4, precision="32-true"):
    dtype, mixed = PRECISIONS[precision]
    return count_allocated(network(*overrides), text(LENGTH), samples=sequences, dtype=dtype, mixed=mixed)


def measured(*overrides, sequences=4, precision="32-true"):
    """Of the objective's own step in the precision that Lightning gives it, by torch's profiler."""
    dtype, _ = PRECISIONS[precision]
    model = network(*overrides).to(dtype).to_empty(device="cpu")
    model.reset_parameters(0)
    module = TrainingModule(model, NextToken(), None, None, [], seed=0, samples_per_step=sequences)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    lightnings = L.Trainer(accelerator="cpu", precision=precision, **quiet).precision_plugin
    for parameter in model.parameters():  # the gradients are there before
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    tokens = torch.randint(model.vocabulary_size, (sequences, LENGTH))

    def step():
        with lightnings.train_step_context():
            loss = module.training_step((tokens, tokens), 0)["loss"]
        loss.backward()

    step()
    # Not counted: each block that is made again keeps the state of the CPU's generator.
    again = sum(block.activation_checkpointing for block in model.blocks)
    return peak_bytes(step, torch.device("cpu")) - again * torch.get_rng_state().nbytes


MODES = ["pre_norm", "resi_dual", "altup", "shc", "dhc"]
REAL = [(mode, "false") for mode in MODES] + [("pre_norm", "true"), ("dhc", "true")]
REAL += [pytest.param(mode, "true", marks=pytest.mark.slow) for mode in MODES[1:-1]]


@pytest.mark.parametrize(("mode", "checkpointing"), REAL)
def test_the_peak_is_that_of_a_real_step(mode, checkpointing):
    overrides = (f"residual={mode}", f"model.activation_checkpointing={checkpointing}")
    assert counted(*overrides).bytes(4) == pytest.approx(measured(*overrides), rel=0.001)


# Where the loss takes most, and where the weights do. The CPU's products of bfloat16 may have a workspace besides.
TAKES_MOST = {"loss": ((), 4), "weights": (("model.layers=3", "model.vocabulary_size=128"), 1)}
QUICK = {("loss", "true", "bf16-mixed"), ("weights", "false", "bf16-true")}
CASES = [(m, c, p) for m in TAKES_MOST for c in ("false", "true") for p in ("bf16-mixed", "bf16-true")]


@pytest.mark.parametrize(
    ("most", "checkpointing", "precision"),
    [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_in_bfloat16_too(most, checkpointing, precision):
    sizes, sequences = TAKES_MOST[most]
    options = (*sizes, "residual=dhc", f"model.activation_checkpointing={checkpointing}")
    mine, real = (of(*options, sequences=sequences, precision=precision) for of in (counted, measured))
    assert mine.bytes(sequences) == pytest.approx(real, rel=0.05)


def test_what_a_plain_block_keeps_of_a_token_by_hand():
    """In bfloat16 the input of each product, in float32 the hidden vectors, and two statistics a norm."""
    d, inner, heads = 64, 160, 4
    attention = 4 * d + 8 + 2 * (d + 3 * d + 2 * d + d) + 4 * heads  # h; x, qkv, turned q and k, y; log-partitions
    feed_forward = 4 * d + 8 + 2 * (d + 2 * inner + inner + inner)  # h; x, gate and up, silu(gate), their product
    final = 8 * d + 8  # h and its norm
    kept = LENGTH * (2 * (attention + feed_forward) + final)
    assert counted(precision="bf16-mixed").kept == kept
    # Made again, the blocks leave the hidden vectors that came in.
    again = counted("model.activation_checkpointing=true", precision="bf16-mixed")
    assert again.kept == LENGTH * (2 * 4 * d + final)
    # Of autocast's copies none is left then: beside the sequences there is the gradient of one, the unembedding's.
    rotary = 2 * LENGTH * (d // heads) * 4
    assert again.fixed == pytest.approx(2 * 2048 * d + rotary, abs=64)


def test_what_blocks_keep_grows_with_them_and_not_when_they_are_made_again():
    def kept(layers, checkpointing):
        more = [] if layers == 2 else [f"model.layers={layers}"]
        return counted("residual=pre_norm", f"model.activation_checkpointing={checkpointing}", *more).kept

    assert kept(3, "false") - kept(2, "false") == kept(2, "false") - kept(1, "false")
    # Made again, a block leaves the hidden vectors that came in, in float32.
    assert kept(2, "true") - kept(1, "true") == LENGTH * 64 * 4
    assert kept(2, "false") > 4 * kept(2, "true")


def test_autocast_keeps_a_copy_of_every_weight_that_it_multiplies_with():
    copies = counted(precision="bf16-mixed").fixed - counted().fixed
    weights = sum(p.numel() for p in network().parameters())
    assert copies == pytest.approx(2 * weights, rel=0.02)


def test_the_loss_needs_three_tensors_of_logits():
    assert counted().logits == pytest.approx(3 * 4 * 2048 * LENGTH, rel=0.02)  # 2000 padded to 2048


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
