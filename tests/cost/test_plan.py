import re
from functools import cache

import pytest

from hcexp.configuration import compose
from hcexp.cost.cluster import Cluster
from hcexp.cost.devices import device
from hcexp.cost.estimate import estimate_cost, micro_batch_of
from hcexp.cost.plan import Plan, named_cluster, strategy
from hcexp.cost.plan_tables import cluster_tables
from hcexp.cost.resident import sharded
from hcexp.cost.rows import Row
from hcexp.cost.tables import lines_of
from tests.cost.shared import SMALL, cells

OF_16 = (*SMALL, "data.batch_size=16", "trainer.accumulate_grad_batches=4", "steps=10", "trainer.accelerator=auto")
EIGHT = Cluster(device("h200"), 8, 0.4)
TWO = Cluster(device("80GB,1TFLOP/s,1TB/s"), 2, 0.5)


@cache
def estimated(*overrides):
    config = compose(list(overrides))
    return config, estimate_cost(config)


def plan(*overrides, checkpointed=False):
    return Plan("mine", *estimated(*overrides), EIGHT, checkpointed)


def test_the_1b_by_hand():
    """500B tokens at 7.06 GFLOPs, and 12 · 16 · 2048² more for attention scores, on 8 × 989 TFLOP/s at 40 %."""
    mine = plan("scale=1b")
    assert mine.tokens == 119209 * 2048 * 2048
    assert mine.flops == 3 * 2 * (1_176_764_416) + 12 * 16 * 2048**2
    assert mine.seconds == pytest.approx(mine.flops * 500e9 / (8 * 989e12 * 0.4), rel=1e-5)
    assert mine.seconds / 86400 == pytest.approx(14.38, abs=0.01)
    # Under DDP everything whole: 16 bytes a parameter, and 4 more in the buckets.
    assert mine.resident.total == 20 * 1_176_764_416


@pytest.mark.slow
def test_the_7b_by_hand():
    mine, again = (plan("scale=7b", "trainer=fsdp", checkpointed=checkpointed) for checkpointed in (False, True))
    blocks = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert mine.flops == 3 * 2 * (blocks + 50304 * 4096) + 12 * 32 * 4096 * 2048
    assert mine.resident == sharded(mine.model, mine.precision["dtype"], 8)
    assert mine.micro_batch == 4
    assert again.flops - mine.flops == 2 * blocks + 4 * 32 * 4096 * 2048  # blocks alone are made again


@pytest.mark.parametrize(
    ("overrides", "count", "kind"),
    [
        ([], 2, "ddp"),
        ([], 1, "single"),
        (["trainer=fsdp"], 2, "fsdp"),
        (["trainer.strategy=ddp_find_unused_parameters_true"], 2, "ddp"),
    ],
)
def test_strategies(overrides, count, kind):
    assert strategy(compose(overrides), Cluster(TWO.device, count, 0.5)) == kind


@pytest.mark.parametrize(
    ("overrides", "gpus"),
    [
        ([], 1),
        (["trainer=ddp"], 1),  # as many as the machine has
        (["trainer.devices=8"], 8),
        (["trainer.devices=[0,3]"], 2),
        (["trainer.devices=4", "+trainer.num_nodes=4"], 16),
    ],
)
def test_without_a_count_there_are_as_many_as_the_run_names(overrides, gpus):
    config = compose([*OF_16, "data.batch_size=64", "trainer.accumulate_grad_batches=1", *overrides])
    assert named_cluster("h200", None, None, config) == Cluster(EIGHT.device, gpus, 0.4)


def test_a_run_that_names_its_devices_has_the_same_micro_batch():
    named = compose([*OF_16, "data.batch_size=64", "trainer.devices=8", "trainer.accumulate_grad_batches=2"])
    assert named_cluster("h200", 8, 0.4, named) == EIGHT and micro_batch_of(named) == 4


REFUSED = {
    "trainer.strategy=deepspeed": "trainer.strategy=deepspeed cannot be counted: choose auto, ddp, or ",
    "data.batch_size=96 trainer.accumulate_grad_batches=12": "data.batch_size=96 cannot be shared by --count 8 in mi",
    "trainer.devices=2": "--count 8 is not what trainer.devices × trainer.num_nodes = 2 says: leave one out",
    "trainer.precision=64-true": "trainer.precision=64-true cannot be counted: choose from 32-true, bf16-mixed",
    **{
        f"trainer=fsdp trainer.devices={devices} +trainer.num_nodes=2": f"trainer.devices={devices} is no number of GPU"
        for devices in ("auto", "-1")
    },
}


@pytest.mark.parametrize(("overrides", "line"), REFUSED.items(), ids=REFUSED)
def test_what_the_cluster_cannot_do_is_refused(overrides, line):
    config = compose([*OF_16, "data.batch_size=64", "trainer.accumulate_grad_batches=16", *overrides.split()])
    with pytest.raises(ValueError, match="^" + re.escape(line)):
        named_cluster("h200", 8, 0.4, config)


@cache
def tables(*overrides, cluster=TWO, sizes=OF_16, mine="shc"):
    """Memory and time of pre-norm and another mode, the lines with what a file has of them, and the plans."""
    modes = {"plain": "pre_norm", "mine": mine}
    rows = [Row(label, compose([*sizes, *overrides, f"residual={mode}"])) for label, mode in modes.items()]
    made, lines = cluster_tables(lines_of(rows), cluster)
    return made, lines, [Plan(line.label, line.config, line.predicted, cluster, False) for line in lines]


def gigabytes(*parts):
    return [f"{part / 1e9:.2f}" for part in parts]


@pytest.mark.parametrize("layers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_every_cell_of_the_1b_on_eight_h200_by_hand(layers):
    """As wide, with fewer blocks; 8 × 2048 tokens at a time; matrices in float32, their products in bfloat16."""
    sizes = ("scale=1b", f"model.layers={layers}")
    made, (line, _), _ = tables(sizes=sizes, cluster=EIGHT, mine="resi_dual")
    assert made[0].title == "GB of each of 8 GPUs, h200: ddp, bf16-mixed, 8 × 2048 tokens at a time"
    assert made[1].title == "time for 500.0 billion tokens on 8 GPUs, h200"
    memory, time, record = *map(cells, made), line.taken
    d, inner, heads, rows, tokens = 2048, 8192, 16, 50304, 8 * 2048
    parameters = rows * d + layers * (4 * d * d + 3 * d * inner)
    # Kept of a token by a block: h twice in float32, the inputs of its products in bfloat16, queries and keys turned
    # besides, two statistics a norm, the attention's log-partitions. By the end of the network: h, its norm, two more.
    block = 2 * 4 * d + 2 * (d + 3 * d + 2 * d + d) + 2 * (d + 2 * inner + inner + inner) + 2 * 8 + 4 * heads
    # A bucket for each gradient, and in bfloat16 each weight, or checkpointed the embedding's gradient; the rotary
    # angles' cosines and sines.
    fixed, whole = gigabytes(4 * parameters, 4 * parameters, 8 * parameters), {}
    # log p, its gradient and that of the logits; the norm in bfloat16 has then taken the place of that in float32.
    logits = tokens * (3 * 4 * rows - 2 * d)
    for label, each, of in (("plain", block, parameters), ("plain, checkpointed", 4 * d, rows * d)):
        kept, beside = tokens * (layers * each + 2 * 4 * d + 8), 4 * parameters + 2 * of + 2 * 2048 * 128 * 4
        whole[label] = 16 * parameters + beside + kept + logits
        fit = [n for n in range(1, 257) if 256 % n == 0 and whole[label] + (n / 8 - 1) * (kept + logits) <= 141e9]
        expected = [*fixed, *gigabytes(beside, kept, logits, whole[label]), "yes", str(fit[-1])]
        assert memory[label] == expected, label
    # 3 · 2 operations a parameter, and 12 · 2048² a block in attention scores, of 3.1648 · 10¹⁵ a second.
    operations = 6 * parameters + 12 * layers * d * 2048
    seconds = operations * 119209 * 2048 * 2048 / (8 * 989e12 * 0.4)
    taken = [f"{seconds / 86400:.2f}", f"{seconds * 8 / 3600:,.1f}"]
    scores = [f"{6 * parameters / 1e9:.4f}", f"{12 * layers * d * 2048 / 1e9:.4f}"]
    assert time["plain"] == [*scores, *taken, "–", "–"]
    # ResiDual beside pre-norm: no products, but two more sums a sublayer, forward and backward, and at the ends the
    # copy of the embedding and two sums; a sum moves 12 d bytes, the copy 8 d.
    share = (2 * layers * 2 * 12 * d + 8 * d + 2 * 12 * d) / 4.8e12 / (operations / (989e12 * 0.4))
    assert time["mine"] == [*scores, *taken, "0.00", f"{100 * share:+.1f}"]
    assert record["bytes in all"] == pytest.approx(whole["plain"], abs=64)
    largest = [int(memory[label][-1]) for label in whole]
    assert [record["largest micro-batch"], record["largest micro-batch, checkpointed"]] == largest
    assert record["seconds"] == pytest.approx(seconds)
    if layers == 16:
        assert parameters == 1_176_764_416 and largest == [16, 64]
        assert memory["plain"][3:7] == ["7.06", "30.35", "9.82", "66.07"]
        assert memory["plain, checkpointed"][3:7] == ["4.92", "2.42", "9.82", "35.98"]
        assert time["mine"] == ["7.0606", "0.8053", "14.38", "2,761.6", "0.00", "+1.7"]


def test_operations_and_traffic_are_both_in_the_time():
    """SHC's own: more operations than pre-norm's, and what they move; the second column has the sum."""
    (memory, time), lines, (plain, mine) = tables("trainer.precision=bf16-mixed")
    assert list(cells(memory)) == ["plain", "plain, checkpointed", "mine", "mine, checkpointed"]
    assert list(cells(time)) == ["plain", "mine"] and cells(time)["plain"][-2:] == ["–", "–"]
    assert all(found[-2:] == ["yes", "8"] for found in cells(memory).values())
    operations = mine.flops / plain.flops - 1
    moved = (mine.traffic - plain.traffic) / 1e12 / (plain.flops / 0.5e12)
    expected = [f"{100 * operations:+.2f}", f"{100 * (operations + moved):+,.1f}"]
    assert cells(time)["mine"][-2:] == expected and operations > 0.001
    (note,) = time.notes
    assert "utilisation of 0.5 is an assumption" in note and "2 × 1 TFLOP/s × 0.5) = " in note
    for record in (line.taken for line in lines):
        assert record["strategy"] == "ddp" and record["bytes in all, checkpointed"] < record["bytes in all"]
        assert record["seconds"] == record["operations per token"] * record["tokens"] / 1e12


def test_a_small_device_without_a_bandwidth_and_blocks_that_are_made_again():
    small = Cluster(device("0.0001GB,1TFLOP/s"), 2, 0.5)
    (memory, time), (line, _), _ = tables("model.activation_checkpointing=true", cluster=small)
    assert cells(memory)["plain"][-2:] == ["no", "–"] and line.taken["largest micro-batch"] == 0  # too large for it
    assert list(cells(time)) == ["plain, checkpointed", "mine, checkpointed"]
    assert line.taken["operations per token"] > line.predicted.flops.training + 3 * line.predicted.attention
    assert cells(time)["mine, checkpointed"][-1] == "–"  # nobody knows how long traffic takes
