"""Measures what a run takes beside the model's own work: Trainer, callbacks and logger in its steps, a sweep around it.

A run of scale=tiny, with its callbacks and MLflow, is set against a bare loop on the same model, batches and optimizer,
a few steps of each in turn; and runs of a sweep against the same runs in one process. From the checkout:

  python -m benchmarks.overhead [OVERRIDE ...]
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from argparse import RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as L
import torch
import yaml
from lightning.pytorch.profilers import SimpleProfiler
from torch.utils._pytree import tree_map

from hcexp.cli.arguments import Parser, add_overrides, parse
from hcexp.cli.errors import explain
from hcexp.cli.quiet import quiet
from hcexp.configuration import TRUST, compose
from hcexp.cost.speed import ratio, ratio_quartiles
from hcexp.run.run import Run

BLOCK = 5  # optimiser steps
WARMUP = 2  # blocks
RUNS = 8  # of a sweep
# A run of which most is not training.
SHORT = (
    "model.d=32",
    "model.layers=2",
    "model.heads=2",
    "model.inner=32",
    "steps=6",
    "schedule.warmup=1",
    "data.sequence_length=32",
    "data.batch_size=2",
    "evaluation.max_tokens=200",
)


class BareLoop:
    """The training loop without a Trainer: on copies of its model, optimizer and schedule, and the same batches."""

    def __init__(self, trainer: L.Trainer, module: L.LightningModule):
        self.model = deepcopy(module.model)
        if module.compile_blocks:
            self.model.compile_blocks()
        self.optimizer = module.optimizer(self.model)
        self.schedule = module.schedule(self.optimizer)
        self.batches = iter(trainer.train_dataloader)
        self.objective = module.objective
        self.device, self.clip = module.device, trainer.gradient_clip_val or float("inf")
        self.precision = torch.bfloat16 if "bf16-mixed" in trainer.precision else None

    def step(self) -> None:
        """One optimiser step."""
        batch = tree_map(lambda tensor: tensor.to(self.device, non_blocking=True), next(self.batches))
        with torch.autocast(self.device.type, self.precision) if self.precision else nullcontext():
            losses = self.objective(self.model, batch)
        losses.minimised.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()


class Alternate(L.Callback):
    """After each block of the Trainer's steps, as many of the bare loop's; `trained` and `bare` are their seconds.

    Validation and the run's end lie outside of the blocks; a checkpoint that is due falls into one.
    """

    def __init__(self, steps: int = BLOCK):
        self.steps = steps
        self.trained: list[float] = []
        self.bare: list[float] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._loop = BareLoop(trainer, pl_module)
        self._mark = self._now()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.steps:
            return
        now = self._now()
        self.trained.append(now - self._mark)
        for _ in range(self.steps):
            self._loop.step()
        self._mark = self._now()
        self.bare.append(self._mark - now)

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


def of_steps(overrides: Sequence[str]) -> None:
    """Print what a step takes beside the bare loop's.

    Raises ValueError for micro-batches: a block is of whole steps.
    """
    os.environ[TRUST] = ",".join(filter(None, (os.environ.get(TRUST), "benchmarks")))  # the callback below
    with tempfile.TemporaryDirectory() as runs:
        arguments = [
            *overrides,
            f"paths.runs={runs}",
            f"tracking.uri=sqlite:///{runs}/mlflow.db",
            "+trainer.profiler=simple",
            "+callbacks.alternate._target_=benchmarks.overhead.Alternate",
        ]
        run = Run(compose(arguments), arguments)
        if run.config.trainer.accumulate_grad_batches != 1:
            raise ValueError("whole steps are compared: set trainer.accumulate_grad_batches=1")
        run.train()
    alternate = next(c for c in run.trainer.callbacks if isinstance(c, Alternate))
    trained, bare = alternate.trained[WARMUP:], alternate.bare[WARMUP:]
    low, high = ratio_quartiles(trained, bare)
    print(
        f"a step of the bare loop {1000 * median(bare) / BLOCK:.2f} ms, of the Trainer with callbacks and MLflow "
        f"{1000 * median(trained) / BLOCK:.2f} ms: {ratio(trained, bare):.4f} times as long "
        f"(quartiles {low:.4f} to {high:.4f}; {len(bare)} blocks of {BLOCK} steps of each, in turn, on the same model, "
        "batches and optimizer; without validation; the profiler's own time included)"
    )
    print_parts(run.trainer)


def print_parts(trainer: L.Trainer) -> None:
    """The share of a step that each callback takes, and what it logs."""
    assert isinstance(trainer.profiler, SimpleProfiler)
    durations = {name: sum(seconds) for name, seconds in trainer.profiler.recorded_durations.items()}
    parts: Counter[str] = Counter()
    in_all = durations["run_training_batch"]  # in which are all hooks but those around the batch
    for name, seconds in durations.items():
        match = re.match(r"\[Callback\](\w+).*(train_batch|optimizer_step|zero_grad|backward)", name)
        if match and match[1] != Alternate.__name__:
            parts[match[1]] += seconds
            in_all += seconds if match[2] == "train_batch" else 0
    steps = trainer.global_step
    seconds_a_step = in_all / steps
    for callback, seconds in parts.most_common():
        print(f"  {callback:20} {1000 * seconds / steps:8.3f} ms  {seconds / steps / seconds_a_step:7.2%}")
    print(
        f"callbacks and logger together: {parts.total() / steps / seconds_a_step:.2%} of a step, checkpoints included"
    )


def of_a_sweep() -> None:
    """The time of one more run in a sweep, less that of one more run in a process that is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.yaml"
        row = {"label": "Pre-Norm", "overrides": ["residual=pre_norm"]}
        path.write_text(yaml.safe_dump({"title": "Overhead", "baseline": "Pre-Norm", "rows": [row]}))
        sweep = {n: ["sweep", str(path), "--workers", "1", "--seeds", str(n)] for n in (1, 1 + RUNS)}
        grid = {n: ["train", "-m", "residual=pre_norm", f"seed=range({n})"] for n in (1, 1 + RUNS)}
        seconds_of(["prepare", *SHORT], folder)
        in_sweep, alone = _one_more(sweep, folder), _one_more(grid, folder)
    print(
        f"a run of {alone:.2f} s takes {in_sweep:.2f} s in a sweep with one worker: {in_sweep - alone:+.2f} s "
        f"({1 + RUNS} runs less one, over {RUNS}, by hcexp sweep and by hcexp train -m; Python's imports, once a "
        f"command, fall out)"
    )


def _one_more(commands: dict[int, list[str]], folder: str) -> float:
    few, many = (seconds_of([*command, *SHORT], folder) for command in commands.values())
    return (many - few) / RUNS


def seconds_of(command: list[str], folder: str) -> float:
    """Of a command of ours; raises ValueError with its last line if it fails."""
    runs = tempfile.mkdtemp(dir=folder)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hcexp", *command, f"paths.runs={runs}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise ValueError(f"{shlex.join(['hcexp', *command])} failed: {last}")
    return time.perf_counter() - started


def main(arguments: Sequence[str]) -> int:
    options = Parser("benchmarks.overhead", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    add_overrides(options)
    overrides: list[str] = []
    try:
        overrides = parse(options, arguments).overrides
        quiet()
        of_steps(overrides)
        of_a_sweep()
    except Exception as error:
        if (line := explain(error, overrides)) is None:
            raise
        print(f"benchmarks.overhead: error: {line}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    from benchmarks import overhead  # under the name by which the run finds its callback

    sys.exit(overhead.main(sys.argv[1:]))
