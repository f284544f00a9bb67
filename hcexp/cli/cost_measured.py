"""Training steps of all rows of a table of costs, timed in turn, and their peak memory."""

import statistics
from collections.abc import Sequence

import psutil
import torch
from omegaconf import DictConfig

from hcexp.cli.cost_rows import Row
from hcexp.cli.steps import PRECISIONS, Backbone, TrainingStep, device_name, measured_device
from hcexp.configuration import build_model
from hcexp.cost import count_allocated, interleave, peak_bytes, ratio, ratio_quartiles, workload
from hcexp.report.measured import Measured
from hcexp.report.predicted import micro_batch_of
from hcexp.run.train import require_compiler

PEAK_BY = {"cuda": "torch.cuda.max_memory_allocated", "cpu": "torch.profiler, every allocation of tensors"}


def measured(rows: Sequence[Row], rounds: int, command: str) -> list[Measured]:
    """One training step of each row in each of `rounds`, after two of each that do not count.

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
    return [
        Measured(
            parameters=sum(p.numel() for p in step.model.parameters()),
            seconds=statistics.median(own),
            step=ratio(own, seconds[0]),
            step_low=ratio_quartiles(own, seconds[0])[0],
            step_high=ratio_quartiles(own, seconds[0])[1],
            tokens_per_second=step.tokens_per_step / statistics.median(own),
            peak_bytes=peak,
            peak=peak / peaks[0],
            peak_by=PEAK_BY[device.type],
            device=device_name(device),
            compiled="compiled" if c else "eager",
            rounds=rounds,
            command=command,
        )
        for step, own, peak, c in zip(steps, seconds, peaks, compiled, strict=True)
    ]


def _require_room(rows: Sequence[Row], device: torch.device) -> None:
    """What is held between steps is four numbers a parameter: weights, gradients and AdamW's two moments.

    A CPU has no error for a step that does not fit, but an end without a word: there its activations are counted too.
    """
    models, shapes = [build_model(row.config) for row in rows], {}
    for index, model in enumerate(models):
        for name, p in model.named_parameters():
            shared = not name.startswith("stream.")
            shapes[(name, p.shape) if shared else (name, index)] = p.numel()
    dtype = PRECISIONS.get(str(rows[0].config.trainer.precision), torch.float32)
    held = 4 * dtype.itemsize * sum(shapes.values())
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    if held > free:
        raise ValueError(
            f"measure=true needs {held / 1e9:,.1f} GB for weights, gradients and optimizer states, of which "
            f"{free / 1e9:,.1f} GB are free ({device_name(device)}): choose a smaller model"
        )
    needed = 0.0 if on_gpu else max(map(_activations, models, (row.config for row in rows)))
    if held + needed > free:
        raise ValueError(
            f"measure=true needs {needed / 1e9:,.1f} GB for a step's activations beside {held / 1e9:,.1f} GB of "
            f"states, and {free / 1e9:,.1f} GB are free ({device_name(device)}): lower data.batch_size, or raise "
            "trainer.accumulate_grad_batches"
        )


def _activations(model: torch.nn.Module, config: DictConfig) -> float:
    """Bytes, of the eager code."""
    size, precision = micro_batch_of(config), str(config.trainer.precision)
    dtype, mixed = PRECISIONS.get(precision, torch.float32), "mixed" in precision
    return count_allocated(model, workload(config), samples=size, dtype=dtype, mixed=mixed).bytes(size)
