import csv
import io

import pytest
from rich.console import Console

from hcexp.cli.cost_cluster import Plan, require_plan, show_cluster, strategy
from hcexp.cli.cost_tables import Line
from hcexp.configuration import compose
from hcexp.cost import Cluster, device, sharded
from hcexp.report.predicted import predicted
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


def plan(*overrides, cluster=TWO, checkpointed=False):
    config = compose(list(overrides))
    return Plan(Line("mine", config, predicted(config), True), cluster, checkpointed)


def test_the_1b_by_hand():
    """500B tokens at 7.06 GFLOPs, and 12 · 16 · 2048² more for attention scores, on 8 × 989 TFLOP/s at 40 %."""
    mine = plan("scale=1b", cluster=EIGHT)
    assert mine.tokens == 119209 * 2048 * 2048
    assert mine.flops == 3 * 2 * (1_176_764_416) + 12 * 16 * 2048**2
    assert mine.seconds == pytest.approx(mine.flops * 500e9 / (8 * 989e12 * 0.4), rel=1e-5)
    assert mine.seconds / 86400 == pytest.approx(14.38, abs=0.01)
    # Under DDP everything whole: 16 bytes a parameter, and 4 more in the buckets.
    assert mine.resident.total == 20 * 1_176_764_416


def test_the_7b_by_hand():
    mine = plan("scale=7b", "trainer=fsdp", cluster=EIGHT)
    blocks = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert mine.flops == 3 * 2 * (blocks + 50304 * 4096) + 12 * 32 * 4096 * 2048
    assert mine.resident == sharded(mine.model, mine.precision["dtype"], 8)
    assert mine.micro_batch == 4
    again = plan("scale=7b", "trainer=fsdp", cluster=EIGHT, checkpointed=True)
    assert again.flops - mine.flops == 2 * blocks + 4 * 32 * 4096 * 2048  # blocks alone are made again


@pytest.mark.parametrize(
    ("overrides", "cluster", "kind"),
    [
        ([], TWO, "ddp"),
        ([], Cluster(TWO.device, 1, 0.5), "single"),
        (["trainer=ddp"], TWO, "ddp"),
        (["trainer=fsdp"], TWO, "fsdp"),
        (["trainer.strategy=ddp_find_unused_parameters_true"], TWO, "ddp"),
    ],
)
def test_strategies(overrides, cluster, kind):
    assert strategy(compose(overrides), cluster) == kind


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer.strategy=deepspeed"], "trainer.strategy=deepspeed cannot be counted: choose auto, ddp, or "),
        (
            ["data.batch_size=96", "trainer.accumulate_grad_batches=12"],
            "data.batch_size=96 cannot be shared by --count 8 in micro-batches of ",
        ),
        (["trainer.devices=2"], "--count 8 is not what trainer.devices × trainer.num_nodes = 2 says: leave one out"),
        (["trainer.precision=64-true"], "trainer.precision=64-true cannot be counted: choose from 32-true, bf16-mixed"),
    ],
)
def test_what_the_cluster_cannot_do_is_refused(overrides, line):
    config = compose([*SMALL, "data.batch_size=64", "trainer.accumulate_grad_batches=16", *overrides])
    with pytest.raises(ValueError) as refused:
        require_plan(config, EIGHT)
    assert str(refused.value).startswith(line)


def test_a_run_that_names_its_devices_has_the_same_micro_batch():
    named = compose([*SMALL, "data.batch_size=64", "trainer.devices=8", "trainer.accumulate_grad_batches=2"])
    require_plan(named, EIGHT)
    assert predicted(named).micro_batch == 4


def show(*overrides, cluster=TWO):
    rows = {"plain": ["residual=pre_norm"], "mine": ["residual=dhc"]}
    configs = {label: compose([*SMALL, *overrides, *mode]) for label, mode in rows.items()}
    lines = [Line(label, config, predicted(config), label == "plain") for label, config in configs.items()]
    console = Console(file=io.StringIO(), width=160)
    records = show_cluster(lines, cluster, console)
    return console.file.getvalue(), records, lines


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


def test_what_is_made_again_takes_time():
    out, (plain, _), (line, _) = show("model.activation_checkpointing=true")
    assert list(table(out, "time for")) == ["plain, checkpointed", "mine, checkpointed"]
    assert plain["operations per token"] > line.predicted.flops.training + 3 * line.predicted.attention


def test_without_a_bandwidth_traffic_says_nothing():
    out, *_ = show(cluster=Cluster(device("80GB,1TFLOP/s"), 2, 0.5))
    assert table(out, "time for")["mine"][-1] == "–"


def test_a_model_that_is_too_large_has_no_micro_batch():
    out, records, _ = show(cluster=Cluster(device("0.0001GB,1TFLOP/s"), 2, 0.5))
    memory = table(out, "GB of each of 2 GPUs")
    assert memory["plain"][-2:] == ["no", "–"] and records[0]["largest micro-batch"] == 0


def test_the_command(hcexp, refused, tmp_path):
    path = tmp_path / "cost.csv"
    options = [*SMALL, "residual=shc", "--csv", path]
    status, out, err = hcexp("cost", *options, "--gpu", "H200", "--count", "2")
    assert (status, err) == (0, "") and "on 2 GPUs, h200" in out and "× 0.4) = " in " ".join(out.split())
    with open(path, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["GPUs"] for row in rows] == ["2", "2"] and float(rows[0]["bytes in all"]) > 0
    assert refused("cost", *options, "--count", "2").startswith("--count 2 needs --gpu")
    assert refused("cost", *options, "--gpu", "h20").startswith("--gpu h20 is not known, did you mean h200")
    assert refused("cost", *options, "--gpu", "h200", "--utilisation", "40").startswith("--utilisation 40 is a share")
    assert refused("cost", *options, "--gpu", "h200", "--utilisation", "0").startswith("--utilisation 0 is a share")
    assert refused("cost", *options, "--gpu", "h200", "--count", "3").startswith("data.batch_size=16 cannot be shared")
