import csv
import io
import re
from argparse import Namespace
from functools import cache

import pytest
from rich.console import Console

from hcexp.cli.cost_cluster import Plan, named_cluster, require_plan, show_cluster, strategy
from hcexp.cli.cost_tables import Line
from hcexp.configuration import compose
from hcexp.cost import Cluster, device, sharded
from hcexp.report.predicted import micro_batch_of, predicted
from tests.cli.test_cost import table

SMALL = (
    "model.d=32",
    "model.layers=2",
    "model.heads=2",
    "model.inner=32",
    "model.vocabulary_size=100",
    "data.sequence_length=16",
    "data.batch_size=16",
    "trainer.accumulate_grad_batches=4",
    "steps=10",
)
EIGHT = Cluster(device("h200"), 8, 0.4)
TWO = Cluster(device("80GB,1TFLOP/s,1TB/s"), 2, 0.5)


@cache
def line(*overrides):
    config = compose(list(overrides))
    return Line("mine", config, predicted(config), True)


def plan(*overrides, cluster=TWO, checkpointed=False):
    return Plan(line(*overrides), cluster, checkpointed)


def test_the_1b_by_hand():
    """500B tokens at 7.06 GFLOPs, and 12 · 16 · 2048² more for attention scores, on 8 × 989 TFLOP/s at 40 %."""
    mine = plan("scale=1b", cluster=EIGHT)
    assert mine.tokens == 119209 * 2048 * 2048
    assert mine.flops == 3 * 2 * (1_176_764_416) + 12 * 16 * 2048**2
    assert mine.seconds == pytest.approx(mine.flops * 500e9 / (8 * 989e12 * 0.4), rel=1e-5)
    assert mine.seconds / 86400 == pytest.approx(14.38, abs=0.01)
    # Under DDP everything whole: 16 bytes a parameter, and 4 more in the buckets.
    assert mine.resident.total == 20 * 1_176_764_416


@pytest.mark.slow
def test_the_7b_by_hand():
    mine = plan("scale=7b", "trainer=fsdp", cluster=EIGHT)
    blocks = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert mine.flops == 3 * 2 * (blocks + 50304 * 4096) + 12 * 32 * 4096 * 2048
    assert mine.resident == sharded(mine.model, mine.precision["dtype"], 8)
    assert mine.micro_batch == 4
    again = plan("scale=7b", "trainer=fsdp", cluster=EIGHT, checkpointed=True)
    assert again.flops - mine.flops == 2 * blocks + 4 * 32 * 4096 * 2048  # blocks alone are made again


def test_strategies():
    for overrides, cluster, kind in (
        ([], TWO, "ddp"),
        ([], Cluster(TWO.device, 1, 0.5), "single"),
        (["trainer=ddp"], TWO, "ddp"),
        (["trainer=fsdp"], TWO, "fsdp"),
        (["trainer.strategy=ddp_find_unused_parameters_true"], TWO, "ddp"),
    ):
        assert strategy(compose(overrides), cluster) == kind, overrides


def test_what_the_cluster_cannot_do_is_refused():
    for overrides, line in (
        (["trainer.strategy=deepspeed"], "trainer.strategy=deepspeed cannot be counted: choose auto, ddp, or "),
        (
            ["data.batch_size=96", "trainer.accumulate_grad_batches=12"],
            "data.batch_size=96 cannot be shared by --count 8 in micro-batches of ",
        ),
        (["trainer.devices=2"], "--count 8 is not what trainer.devices × trainer.num_nodes = 2 says: leave one out"),
        (["trainer.precision=64-true"], "trainer.precision=64-true cannot be counted: choose from 32-true, bf16-mixed"),
    ):
        config = compose([*SMALL, "data.batch_size=64", "trainer.accumulate_grad_batches=16", *overrides])
        with pytest.raises(ValueError, match="^" + re.escape(line)):
            require_plan(config, EIGHT)


def test_without_a_count_there_are_as_many_as_the_run_names():
    chosen = Namespace(gpu="h200", count=None, utilisation=None)
    for overrides, gpus in (
        ([], 1),
        (["trainer=ddp"], 1),  # as many as the machine has
        (["trainer.devices=8"], 8),
        (["trainer.devices=[0,3]"], 2),
        (["trainer.devices=4", "+trainer.num_nodes=4"], 16),
    ):
        config = compose([*SMALL, "data.batch_size=64", *overrides])
        assert named_cluster(chosen, config, 0.4) == Cluster(EIGHT.device, gpus, 0.4), overrides
        assert named_cluster(Namespace(**{**vars(chosen), "count": 64}), config, 0.4).count == 64


@pytest.mark.parametrize("count", [None, 16])
@pytest.mark.parametrize("devices", ["auto", "-1"])
def test_nodes_of_nobody_knows_how_many_devices_are_refused(devices, count):
    config = compose([*SMALL, "trainer=fsdp", f"trainer.devices={devices}", "+trainer.num_nodes=2"])
    line = f"^trainer.devices={devices} is no number of GPUs, .* trainer.num_nodes=2 .* give one, 1 or more$"
    with pytest.raises(ValueError, match=line):
        named_cluster(Namespace(gpu="h200", count=count, utilisation=None), config, 0.4)


def test_a_run_that_names_its_devices_has_the_same_micro_batch():
    named = compose([*SMALL, "data.batch_size=64", "trainer.devices=8", "trainer.accumulate_grad_batches=2"])
    require_plan(named, EIGHT)
    assert micro_batch_of(named) == 4


@cache
def show(*overrides, cluster=TWO, sizes=SMALL, mine="shc"):
    rows = {"plain": ["residual=pre_norm"], "mine": [f"residual={mine}"]}
    configs = {label: compose([*sizes, *overrides, *mode]) for label, mode in rows.items()}
    lines = [Line(label, config, predicted(config), label == "plain") for label, config in configs.items()]
    console = Console(file=io.StringIO(), width=160)
    records = show_cluster(lines, cluster, console)
    return console.file.getvalue(), records, lines


def gigabytes(*parts):
    return [f"{part / 1e9:.2f}" for part in parts]


@pytest.mark.parametrize("layers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_every_cell_of_the_1b_on_eight_h200_by_hand(layers):
    """As wide, with fewer blocks; 8 × 2048 tokens at a time; matrices in float32, their products in bfloat16."""
    sizes = ("scale=1b", f"model.layers={layers}")
    out, (record, _), _ = show(sizes=sizes, cluster=EIGHT, mine="resi_dual")
    memory, time = table(out, "GB of each of 8 GPUs, h200: ddp, bf16-mixed, 8 × 2048"), table(out, "time for 500.0 bil")
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
        cells = [*fixed, *gigabytes(beside, kept, logits, whole[label]), "yes", str(fit[-1])]
        assert memory[label] == cells, label
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
    out, _, lines = show("trainer.precision=bf16-mixed")
    plain, mine = (Plan(line, TWO, False) for line in lines)
    operations = mine.flops / plain.flops - 1
    moved = (mine.traffic - plain.traffic) / 1e12 / (plain.flops / 0.5e12)
    cells = table(out, "time for")["mine"][-2:]
    assert cells == [f"{100 * operations:+.2f}", f"{100 * (operations + moved):+,.1f}"] and operations > 0.001


def test_memory_with_and_without_checkpointing_and_time():
    out, records, lines = show("trainer.precision=bf16-mixed")
    memory, time = table(out, "GB of each of 2 GPUs"), table(out, "time for 0.0 billion tokens")
    assert list(memory) == ["plain", "plain, checkpointed", "mine", "mine, checkpointed"] and list(time) == [
        "plain",
        "mine",
    ]
    assert all(cells[-2:] == ["yes", "8"] for cells in memory.values())
    assert time["plain"][-2:] == ["–", "–"]
    operations, with_traffic = (float(cell) for cell in time["mine"][-2:])
    more = lines[1].predicted.flops.training - lines[0].predicted.flops.training
    whole = lines[0].predicted.flops.training + 3 * lines[0].predicted.attention
    assert operations == pytest.approx(100 * more / whole, abs=0.01) and with_traffic > operations > 0
    said = " ".join(out.split())
    assert "utilisation of 0.5 is an assumption" in said and "2 × 1 TFLOP/s × 0.5) = " in said
    for record in records:
        assert record["strategy"] == "ddp" and record["bytes in all, checkpointed"] < record["bytes in all"]
        assert record["seconds"] == record["operations per token"] * record["tokens"] / 1e12


def test_a_small_device_without_a_bandwidth_and_blocks_that_are_made_again():
    small = Cluster(device("0.0001GB,1TFLOP/s"), 2, 0.5)
    out, (plain, _), (line, _) = show("model.activation_checkpointing=true", cluster=small)
    memory, time = table(out, "GB of each of 2 GPUs"), table(out, "time for")
    assert memory["plain"][-2:] == ["no", "–"] and plain["largest micro-batch"] == 0  # too large for it
    assert list(time) == ["plain, checkpointed", "mine, checkpointed"]
    assert plain["operations per token"] > line.predicted.flops.training + 3 * line.predicted.attention
    assert time["mine, checkpointed"][-1] == "–"  # nobody knows how long traffic takes


def test_the_command(hcexp, refused, tmp_path):
    path = tmp_path / "cost.csv"
    options = [*SMALL, "model.layers=1", "residual=shc", "--csv", path]
    named = ["trainer.devices=2", "trainer.accumulate_grad_batches=2"]
    status, out, err = hcexp("cost", *options, "--gpu", "H200", "--count", "2")
    assert (status, out, err) == hcexp("cost", *options, "--gpu", "H200", *named)
    assert (status, err) == (0, "") and "on 2 GPUs, h200" in out and "× 0.4) = " in " ".join(out.split())
    with open(path, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["GPUs"] for row in rows] == ["2", "2"] and float(rows[0]["bytes in all"]) > 0
    for more, line in (
        (["--count", "2"], "--count 2 needs --gpu"),
        (["--gpu", "h20"], "--gpu h20 is not known, did you mean h200"),
        (["--gpu", "h200", "--utilisation", "40"], "--utilisation 40 is a share"),
        (["--gpu", "h200", "--utilisation", "0"], "--utilisation 0 is a share"),
        (["--gpu", "h200", "--count", "3"], "data.batch_size=16 cannot be shared"),
    ):
        assert refused("cost", *options, *more).startswith(line), more
