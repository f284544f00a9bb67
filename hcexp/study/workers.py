"""Runs the points of a sweep that are not finished: one process a run, several at a time."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hcexp.study.ledger import Point

LOG = "log.txt"
POLL_SECONDS = 0.2
STEP = re.compile(r"^step (\d+)/(\d+)  (.*)$", re.MULTILINE)


@dataclass
class Worker:
    """A process at a point's run."""

    point: Point
    process: subprocess.Popen
    slot: int
    started: float

    def progress(self) -> tuple[float, str]:
        """Share of the steps done, and the run's own line on loss and speed, from the end of its log."""
        lines = STEP.findall(_tail(self.point.run.directory / LOG))
        if not lines:
            return 0.0, "starting"
        step, steps, status = lines[-1]
        return int(step) / int(steps), status


def default_workers(points: int) -> int:
    """As many as there are GPUs; without one, as there are cores; never more than points."""
    return max(1, min(points, torch.cuda.device_count() or cores()))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_points(
    points: Sequence[Point],
    workers: int,
    *,
    changed: Callable[[list[Worker]], None] = lambda running: None,
    ended: Callable[[Worker, dict], None] = lambda worker, result: None,
) -> None:
    """Run each point's run in a process of its own, `workers` at a time, with the cores (and GPUs) shared out.

    Points that share a run are run once. A run that fails does not stop the others: its result says so. `changed`
    is called several times a second with the workers that run, `ended` once for each with its result.
    """
    waiting = list({point.run.identity: point for point in points}.values())
    running: list[Worker] = []
    try:
        while waiting or running:
            free = sorted(set(range(workers)) - {worker.slot for worker in running})
            for slot in free[: len(waiting)]:
                running.append(_start(waiting.pop(0), slot, workers))
            changed(running)
            time.sleep(POLL_SECONDS)
            for worker in [w for w in running if w.process.poll() is not None]:
                running.remove(worker)
                ended(worker, _result(worker))
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.process.wait()


def _start(point: Point, slot: int, workers: int) -> Worker:
    directory = point.run.directory
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hcexp", "train", *point.run.overrides, *_tracking(point)]
    (directory / LOG).unlink(missing_ok=True)  # a worker that outlived its driver goes on writing to the old one
    with open(directory / LOG, "w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_environment(slot, workers)
        )
    return Worker(point, process, slot, time.monotonic())


def _tracking(point: Point) -> list[str]:
    """How the run is called in MLflow; it has no part in the run's identity."""
    name = re.sub(r"(\\*)'", r"\1\1\\'", point.name)  # to Hydra a backslash is one, but before a quote
    return [f"++tracking.run_name='{name}'"]


def _environment(slot: int, workers: int) -> dict[str, str]:
    """One share of the cores, for too many threads slow each other down, and one GPU if several runs share them."""
    threads = str(max(1, cores() // workers))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    # The package may be run from a checkout that is not installed.
    root = str(Path(sys.modules["hcexp"].__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    if workers > 1 and torch.cuda.is_available():
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        environment["CUDA_VISIBLE_DEVICES"] = gpus.split(",")[slot % len(gpus.split(","))]
    return environment


def _result(worker: Worker) -> dict:
    """The result file of the run; if it ended without one, a failure that quotes the end of its log."""
    result = worker.point.run.result()
    if result["state"] != "missing":
        return result
    lines = [line for line in _tail(worker.point.run.directory / LOG).splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line]
    reason = (errors or lines or ["no output"])[-1].removeprefix("hcexp: error: ")
    return {**result, "state": "failed", "error": f"{reason} (exit status {worker.process.returncode})"}


def _tail(path: Path, size: int = 4096) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
