"""Every row of the paper's Tables 1 to 5 at the paper's size, without its memory."""

import pytest
from hydra.utils import instantiate

from hcexp.configuration import build_model, compose, shipped
from hcexp.cost.parameters import count_parameters
from hcexp.paper import printed, table
from hcexp.study import load_sweep
from tests.test_readme_scale import TRAINED, sequences_at_a_time

SWEEPS = {number: load_sweep(f"table{number}", shipped("sweeps")) for number in range(1, 6)}
SCALE = {number: "7b" if number == 5 else "1b" for number in SWEEPS}


def choices(overrides):
    return tuple(sorted(overrides))


# Rows of several tables are one model, composed once: the first label that has it.
ROWS = {}
for number, sweep in SWEEPS.items():
    for row in sweep.rows:
        ROWS.setdefault((SCALE[number], choices((*sweep.overrides, *row.overrides))), row.label)


def test_a_sweep_has_the_papers_rows_in_its_order():
    for number, sweep in SWEEPS.items():
        labels = [row.label for row in sweep.rows]
        own = [label for label in labels if label in table(number).labels]
        assert own == list(table(number).labels) and set(labels) - set(own) <= {sweep.baseline}
        assert sweep.table == number and sweep.seeds == (0,)
    of_all = {row.label for sweep in SWEEPS.values() for row in sweep.rows}
    assert {label for label in table(7).labels if "MoE" not in label} <= of_all


@pytest.mark.parametrize(
    ("scale", "overrides"), ROWS, ids=lambda value: value if isinstance(value, str) else ",".join(value)
)
def test_a_row_builds_at_the_papers_size_in_shards_and_as_the_readme_says(scale, overrides):
    config = compose([f"scale={scale}", "trainer=fsdp", *overrides])
    model = build_model(config)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    row = printed(7, ROWS[scale, overrides])
    if row:
        assert count_parameters(model).total == row.row["total_exact"]
    # The paper's run: 500B tokens in steps of four million.
    data = config.data
    assert config.steps * data.batch_size * data.sequence_length == pytest.approx(500e9, rel=1e-5)
    assert (data.sequence_length, data.batch_size, data.max_tokens) == (2048, 2048, 500_000_000_000)
    assert (config.choices.data, config.evaluation.suite, config.downstream.tasks) == ("dolma", "v3", "paper")
    strategy = config.trainer.strategy
    assert strategy._target_ == "hcexp.optim.FullySharded" and type(instantiate(strategy)).__name__ == "FullySharded"

    shown = compose([*TRAINED[scale], *overrides])
    again = {"activation_checkpointing": None}  # the README chooses it by size
    assert {**shown.model, **again} == {**config.model, **again} and shown.residual == config.residual
    assert sequences_at_a_time(shown) == {"1b": 8, "7b": 4}[scale]


# Width, blocks, heads, feed-forward width; steps, sequences, length, learning rate, warm-up, micro-batches.
SIZES = {
    "20m": (256, 8, 8, 1024, 3200, 64, 2048, 1e-3, 320, 8),
    "60m": (512, 8, 8, 2048, 4600, 128, 2048, 1e-3, 460, 16),
    "150m": (768, 12, 12, 3072, 5800, 256, 2048, 8e-4, 580, 32),
    "300m": (1024, 16, 16, 4096, 12000, 256, 2048, 6e-4, 1200, 32),
    "1b": (2048, 16, 16, 8192, 119209, 2048, 2048, 4e-4, 2000, 256),
    "7b": (4096, 32, 32, 11008, 119209, 2048, 2048, 3e-4, 5000, 512),
}


@pytest.mark.parametrize("scale", SIZES)
def test_a_scale_chooses_model_data_length_and_batch(scale):
    c = compose([f"scale={scale}"])
    assert SIZES[scale] == (
        c.model.d, c.model.layers, c.model.heads, c.model.inner, c.steps, c.data.batch_size, c.data.sequence_length,
        c.optimizer.lr, instantiate(c.schedule).warmup, c.trainer.accumulate_grad_batches,
    )  # fmt: skip
    assert (c.model.vocabulary_size, c.model.tied) == (50280, scale != "7b")
    assert (c.data.tokenizer, c.compile, c.trainer.precision) == ("allenai/OLMo-1B-hf", True, "bf16-mixed")
    assert c.schedule.shape == ("linear" if scale == "7b" else "cosine")
    assert c.choices.data == ("dolma" if scale in ("1b", "7b") else "c4")
    assert c.tracking.checkpoint == (scale not in ("1b", "7b"))
    assert c.evaluation.every == {"300m": 1000, "1b": 5000, "7b": 5000}.get(scale, 500)
