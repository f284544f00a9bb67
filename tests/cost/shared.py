"""What the tests of costs share: a small network, sequences to train it on, a measured step, the cells of a table."""

import torch

from hcexp.cost.benchmark import StepTiming
from hcexp.cost.workload import Workload
from hcexp.objective import NextToken

# A network that is quick to build, count and train.
SMALL = (
    "model.d=32",
    "model.layers=2",
    "model.heads=2",
    "model.inner=32",
    "model.vocabulary_size=100",
    "data.sequence_length=16",
    "data.batch_size=2",
    "trainer.accelerator=cpu",
)

STEP = StepTiming(
    parameters=1, seconds=1.2345, step=1.25, step_low=1.2, step_high=1.3125, tokens_per_second=1e6,
    peak_bytes=123.45e9, peak=1.0625, peak_by="an allocator", device="NVIDIA H200", compiled="eager", rounds=15,
    command="hcexp cost --sweep asked --measure",
)  # fmt: skip


def sequences(length, vocabulary=100):
    def example(rows):
        tokens = torch.randint(vocabulary, (rows, length + 1))
        return tokens[:, :-1], tokens[:, 1:]

    return Workload(NextToken(), example)


def cells(table):
    """{label: cells} of a table."""
    return {label: list(others) for label, *others in table.rows}


def printed(out, title):
    """{label: cells} of the table below a title in a terminal."""
    below = out[out.index(title) :].splitlines()[1:]
    start = next(index for index, line in enumerate(below) if set(line.strip()) == {"─"})
    rows = {}
    for line in below[start + 1 :]:
        found = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if len(found) < 2:
            break
        rows[found[0]] = found[1:]
    return rows
