"""Speed and memory of a training run."""

import resource
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch

from hcexp.callbacks.step import StepCallback


def per_step(pl_module: L.LightningModule) -> tuple[str, int]:
    """What an optimiser step is measured in, and how many it has: tokens, or samples where they are no sequences."""
    if pl_module.tokens_per_step:
        return "tokens", pl_module.tokens_per_step
    return "samples", pl_module.samples_per_step


class Throughput(StepCallback):
    """Tokens (or samples) per second over all devices, peak memory and seconds of training, logged every few steps.

    The last step's point is `metrics`, those of the whole run, and for the caller to log at its end.

    A step's duration runs from the end of the step before it (or, after a pause, from its own start) to its end. On
    CUDA it is measured between events on the device, so nothing waits and nothing is flattered by a host that runs
    ahead; elsewhere by the wall clock. Validation and checkpointing belong to no step.

    - `perf/tokens_per_second`, or samples: those of a step (see `per_step`) over the *median* duration since the last
      point, so that a hiccup does not count; the first `warmup` steps of a process, which compile, never count;
    - `perf/train_seconds`: the sum of all durations, warm-up included, also those before a resume;
    - `perf/peak_memory_bytes`: on CUDA the most that was allocated on this process's device since the run
      began, elsewhere the peak resident set of this process since it began.

    Args:
        every: optimiser steps between two points of a curve.
        warmup: optimiser steps left out at the start of a process.
    """

    def __init__(self, every: int = 10, warmup: int = 10) -> None:
        if every < 1:
            raise ValueError(f"callbacks.throughput.every must be at least 1 optimiser step, got {every}")
        if warmup < 0:
            raise ValueError(f"callbacks.throughput.warmup must not be negative, got {warmup}")
        self.every, self.warmup = every, warmup
        self.unit, self._per_step = "tokens", 0
        self.rate: float | None = None  # units per second at the last point
        self._durations: list[float] = []  # seconds, of the steps that count
        self._seconds = 0.0
        self._peak = 0
        self._cuda: torch.device | None = None
        self._start_process()

    def _start_process(self) -> None:
        self._pending: list[tuple[Any, Any, bool]] = []  # (start, end, whether it counts)
        self._mark: Any = None  # end of the last step, or the start of this one
        self._logged = len(self._durations)
        self._to_skip = self.warmup
        self._in_step = self._torn = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        device = trainer.strategy.root_device
        self._cuda = device if device.type == "cuda" else None
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(device)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.unit, self._per_step = per_step(pl_module)
        self._start_process()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._mark is None:
            self._mark = self._now()
        self._in_step = True

    def on_step_end(self, trainer: L.Trainer, step: int) -> None:
        end = self._now()
        self._pending.append((self._mark, end, self._to_skip <= 0 and not self._torn))
        self._mark, self._in_step, self._torn = end, False, False
        self._to_skip -= 1
        if step % self.every == 0 and step != trainer.max_steps:
            self._log(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pause()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict) -> None:
        self._pause()

    def _pause(self) -> None:
        self._mark = None
        self._torn = self._in_step  # between two micro-batches: what is left is no whole step

    def _now(self) -> Any:
        if self._cuda is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _settle(self) -> None:
        """Turn marks into seconds; waits for the newest one on CUDA."""
        if self._pending and self._cuda:
            self._pending[-1][1].synchronize()
        for start, end, counts in self._pending:
            seconds = start.elapsed_time(end) / 1000 if self._cuda else end - start
            self._seconds += seconds
            if counts:
                self._durations.append(seconds)
        self._pending = []
        self._peak = max(self._peak, self._peak_memory())

    def _peak_memory(self) -> int:
        if self._cuda:
            return torch.cuda.max_memory_allocated(self._cuda)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def _log(self, trainer: L.Trainer) -> None:
        self._settle()
        metrics = self._measured(self._durations[self._logged :])
        self.rate = metrics.get(f"perf/{self.unit}_per_second", self.rate)
        self._logged = len(self._durations)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=self._step)

    @property
    def metrics(self) -> dict[str, float]:
        """Of the whole run, resumes included, by the median of all durations; empty before the first step."""
        self._settle()
        return self._measured(self._durations) if self._seconds else {}

    def _measured(self, durations: Sequence[float]) -> dict[str, float]:
        metrics = {"perf/peak_memory_bytes": self._peak, "perf/train_seconds": self._seconds}
        if self._per_step and durations:
            metrics[f"perf/{self.unit}_per_second"] = self._per_step / statistics.median(durations)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        self._settle()
        durations = torch.tensor(self._durations, dtype=torch.float32)  # 4 bytes a step in the checkpoint
        made = {"unit": self.unit, "per_step": self._per_step}
        return {"durations": durations, "seconds": self._seconds, "peak": self._peak, **made}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._durations = state_dict["durations"].tolist()
        self._seconds, self._peak = state_dict["seconds"], state_dict["peak"]
        self.unit, self._per_step = state_dict["unit"], state_dict["per_step"]
