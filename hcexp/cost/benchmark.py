"""Training steps of several configurations, timed in turn, with their peak memory; and the file that keeps them for a
sweep's report.
"""

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from hcexp.configuration import build_model
from hcexp.cost.allocated import count_allocated
from hcexp.cost.estimate import micro_batch_of
from hcexp.cost.memory import peak_bytes
from hcexp.cost.rows import Row
from hcexp.cost.speed import interleave, ratio, ratio_quartiles
from hcexp.cost.training_step import PRECISIONS, Backbone, TrainingStep, device_name, measured_device
from hcexp.cost.workload import workload
from hcexp.run.train import require_compiler

FILE = "cost.csv"
PEAK_BY = {"cuda": "torch.cuda.max_memory_allocated", "cpu": "torch.profiler, every allocation of tensors"}


@dataclass(frozen=True)
class StepTiming:
    """One row's training step, timed in turn with the baseline's, of those that are compiled as it is; ratios are over
    the baseline's.

    `seconds` is the median step; `step`, `step_low` and `step_high` the median of its ratio over rounds and the
    quartiles; `peak` the ratio of the peak memory; `over_first` the step's ratio to the first row of all, which may be
    compiled otherwise; no file has it. `parameters` says which model it was.
    """

    parameters: int
    seconds: float
    step: float
    step_low: float
    step_high: float
    tokens_per_second: float
    peak_bytes: float
    peak: float
    peak_by: str
    device: str
    compiled: str
    rounds: int
    command: str
    over_first: float | None = None

    @property
    def step_uncertainty(self) -> float:
        """Half width of the 95 % interval of `step`: a median's, of rounds that scatter as the quartiles say.

        The quartiles of a normal distribution lie 1.349 deviations apart, and its median has 1.2533 times the standard
        error of its mean. It never takes the ratio to 0.
        """
        half = 1.96 * 1.2533 * (self.step_high - self.step_low) / 1.349 / math.sqrt(self.rounds)
        return min(half, 0.99 * self.step)


# The fields by their column's name in the file.
COLUMNS = {
    "parameters": "parameters",
    "seconds": "step seconds",
    "step": "step time over baseline",
    "step_low": "step time over baseline, lower quartile",
    "step_high": "step time over baseline, upper quartile",
    "tokens_per_second": "tokens per second",
    "peak_bytes": "peak memory bytes",
    "peak": "peak memory over baseline",
    "peak_by": "peak memory by",
    "device": "device",
    "compiled": "compiled",
    "rounds": "rounds",
    "command": "command",
}


def measure(rows: Sequence[Row], rounds: int, command: str) -> list[StepTiming]:
    """One training step of each row in each of `rounds`, after two of each that do not count.

    The baseline of a row is the first one that is compiled as it is.

    Raises:
        ValueError: weights, gradients and optimizer states, or a step, do not fit on the device.
        FileNotFoundError: compile=true without a C++ compiler.
    """
    compiled = [bool(row.config.compile) for row in rows]
    if any(compiled):
        require_compiler()
    device = measured_device(rows[0].config)
    _require_room(rows, device)
    backbone = Backbone(device)
    try:
        steps = [TrainingStep(row.config, backbone, compiled=c) for row, c in zip(rows, compiled, strict=True)]
        seconds = list(interleave(dict(enumerate(steps)), rounds=rounds).values())
        peaks = [step.resident_bytes + peak_bytes(step, device) for step in steps]
    except torch.OutOfMemoryError:
        raise ValueError(
            f"a training step does not fit on {device_name(device)}: lower data.batch_size, or raise "
            "trainer.accumulate_grad_batches"
        ) from None
    found = []
    for step, own, peak, c in zip(steps, seconds, peaks, compiled, strict=True):
        base = compiled.index(c)
        low, high = ratio_quartiles(own, seconds[base])
        found.append(
            StepTiming(
                parameters=sum(p.numel() for p in step.model.parameters()),
                seconds=statistics.median(own),
                step=ratio(own, seconds[base]),
                step_low=low,
                step_high=high,
                tokens_per_second=step.tokens_per_step / statistics.median(own),
                peak_bytes=peak,
                peak=peak / peaks[base],
                peak_by=PEAK_BY[device.type],
                device=device_name(device),
                compiled="compiled" if c else "eager",
                rounds=rounds,
                command=command,
                over_first=ratio(own, seconds[0]),
            )
        )
    return found


def read_timings(folder: Path) -> Mapping[str, StepTiming]:
    """The measured rows by label, from `cost.csv` in a report's folder; none without that file.

    Raises ValueError, naming the file, for one that `hcexp cost` did not write.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file)
            if missing := {"row", *COLUMNS.values()} - set(lines.fieldnames or ()):
                raise ValueError(f"no column {min(missing)}")
            return {line["row"]: _timing(line) for line in lines}
    except (ValueError, TypeError, csv.Error) as error:  # TypeError: of a line that is too short
        raise ValueError(
            f"{path} is no table that hcexp cost --sweep with --measure wrote ({error}): delete it, or measure again"
        ) from None


def _timing(line: Mapping[str, str]) -> StepTiming:
    values = {name: StepTiming.__annotations__[name](line[column]) for name, column in COLUMNS.items()}
    numbers = [value for value in values.values() if isinstance(value, float)]
    if not all(math.isfinite(value) and value > 0 for value in numbers):
        raise ValueError("a number that is not positive")
    return StepTiming(**values)


def _require_room(rows: Sequence[Row], device: torch.device) -> None:
    """What is held between steps is four numbers a parameter: weights, gradients and AdamW's two moments.

    A CPU has no error for a step that does not fit, but an end without a word: there its activations are counted too.
    """
    models, shapes = [build_model(row.config) for row in rows], {}
    for index, model in enumerate(models):
        for name, p in model.named_parameters():
            shapes[(name, index if name.startswith("stream.") else p.shape)] = p.numel()
    precision = str(rows[0].config.trainer.precision)
    dtype, mixed = PRECISIONS.get(precision, torch.float32), "mixed" in precision

    def require(needed: float, what: str, advice: str) -> None:
        if needed > free:
            raise ValueError(
                f"--measure needs {needed / 1e9:,.1f} GB for {what}, of which {free / 1e9:,.1f} GB are free "
                f"({device_name(device)}): {advice}"
            )

    on_gpu, held = device.type == "cuda", 4 * dtype.itemsize * sum(shapes.values())
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    require(held, "weights, gradients and optimizer states", "choose a smaller model")
    for model, row in () if on_gpu else zip(models, rows, strict=True):
        size = micro_batch_of(row.config)
        step = count_allocated(model, workload(row.config), samples=size, dtype=dtype, mixed=mixed).bytes(size)
        advice = "lower data.batch_size, or raise trainer.accumulate_grad_batches"
        require(held + step, "weights, gradients, optimizer states and a step's activations", advice)
