"""Runs the points of a queue: one process a run, several at a time, beside those of other drivers."""

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from hcexp.configuration import shareable
from hcexp.disk.atomic import write_json
from hcexp.run.folder import RESULT, RunFolder
from hcexp.study.claim import Claim
from hcexp.study.launch import LOST, launch
from hcexp.study.point import Point
from hcexp.study.queue import Queue
from hcexp.tables.format import clock, short
from hcexp.tracking.metrics import METRICS, tail

POLL_SECONDS = 0.2
GRACE_SECONDS = 60  # from SIGTERM to SIGKILL: time for a checkpoint
TAIL_BYTES = 4096


@dataclass
class Worker:
    """A process at a claimed point's run."""

    claim: Claim
    process: ForkServerProcess
    slot: int
    started: float
    begun: int = 0  # the step of the newest checkpoint that it found
    killed: bool = False  # it has ended without a result

    @property
    def point(self) -> Point:
        return self.claim.point

    def progress(self) -> tuple[float, str]:
        """Share of the steps done, and loss, speed and time left, by what the process has recorded so far."""
        seconds = time.monotonic() - self.started
        begun = 1000 * (time.time() - seconds)
        lines = [line for line in tail(self.point.run.directory / METRICS) if line.time >= begun]
        if not lines:
            return 0.0, "starting"
        step, steps = lines[-1].step, self.point.run.config.steps
        newest = {name: value for line in lines for name, value in line.metrics.items()}
        said = [f"loss {newest['train/loss']:.3f}"] if "train/loss" in newest else []
        for unit in ("tokens", "samples"):
            if rate := newest.get(f"perf/{unit}_per_second"):
                said.append(f"{short(rate)} {unit}/s")
        left = (steps - step) * seconds / (step - self.begun) if step > self.begun else math.nan
        return step / steps, "  ".join([*said, f"{clock(left)} left"])

    def signal(self, signum: int) -> None:
        """To all processes of the run, if there is still one."""
        try:
            os.killpg(self.process.pid, signum)
        except ProcessLookupError:
            if self.process.is_alive():  # so young that it is no leader of a group yet
                os.kill(self.process.pid, signum)


def default_workers(points: int) -> int:
    """As many as there are GPUs; without one, as there are cores; never more than points."""
    return max(1, min(points, torch.cuda.device_count() or cores()))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_points(
    queue: Queue,
    workers: int,
    *,
    changed: Callable[[list[Worker]], None] = lambda running: None,
    ended: Callable[[Worker, dict], None] = lambda worker, result: None,
) -> None:
    """Run what the queue gives until it is done, `workers` at a time, with the cores (and GPUs) shared out.

    That includes waiting for the runs that others have taken. A run that fails does not stop the others. One that a
    signal ends after a newer checkpoint than it began with is stopped: it goes on, and no attempt is counted. `changed`
    is called several times a second with the workers that run, `ended` once for each with its result. Where this is
    left by an exception, such as Ctrl-C, the runs are stopped and put back: with SIGTERM, and with SIGKILL those that
    are there still after `GRACE_SECONDS`, or when Ctrl-C is pressed again.
    """
    running: list[Worker] = []
    try:
        while True:
            for slot in sorted(set(range(workers)) - {worker.slot for worker in running}):
                if (claim := queue.claim()) is None:
                    break
                worker, go = _start(claim, slot, workers)
                running.append(worker)
                go.send(True)  # it is known now, and ends with this process
                go.close()
            if not running and queue.done():
                return
            changed(running)
            if running:
                wait([worker.process.sentinel for worker in running], POLL_SECONDS)
            else:
                time.sleep(POLL_SECONDS)
            for worker in [worker for worker in running if not worker.process.is_alive()]:
                running.remove(worker)
                if (result := _settle(worker)) is not None:
                    ended(worker, result)
    finally:
        _stop(running)


def _stop(running: list[Worker]) -> None:
    """End the processes, and put their points back."""
    for worker in running:
        worker.signal(signal.SIGTERM)
    try:
        until = time.monotonic() + GRACE_SECONDS
        for worker in running:
            worker.process.join(max(0, until - time.monotonic()))
    finally:
        for worker in running:  # one that is stopped, or waits for ever for another process, has not heard the first
            worker.signal(signal.SIGKILL)
            worker.process.join()
            worker.claim.release()


def _start(claim: Claim, slot: int, workers: int) -> tuple[Worker, Connection]:
    log = RunFolder(claim.point.run.directory).log
    log.unlink(missing_ok=True)
    begun = _newest(claim.point)
    process, go = launch(claim.point.arguments, log, claim.lock, _environment(slot, workers))
    return Worker(claim, process, slot, time.monotonic(), begun), go


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


def _settle(worker: Worker) -> dict | None:
    """Enter what an ended process left: its result or, without one, a failure; None if it may not have ended."""
    if worker.process.exitcode == LOST:
        worker.signal(signal.SIGTERM)
        worker.claim.release()  # for others as soon as the process is gone, and its hold on the lock with it
        return None
    worker.signal(signal.SIGKILL)  # of a run of several processes, those that the first one left behind
    result = worker.point.run.result()
    if result["state"] == "missing":
        worker.killed = True
        result |= _failure(worker)
    # A signal ends a process at once, or in order, with 128 and the signal's number as its exit status.
    signalled = worker.process.exitcode < 0 or worker.process.exitcode > 128
    if result["state"] == "failed" and signalled and (step := _newest(worker.point)) > worker.begun:
        worker.claim.release()  # preempted, or short of memory beside others: no fault of the run's
        return result | {"state": "stopped", "error": f"{result['error']}; it goes on from step {step}"}
    if worker.killed:
        write_json(worker.point.run.directory / RESULT, result)
    worker.claim.settle(result)
    return result


def _newest(point: Point) -> int:
    """Step of the newest checkpoint of a point's run, 0 without one. By its name: reading them all takes long."""
    return max((step for step, _ in RunFolder(point.run.directory).checkpoints), default=0)


def _failure(worker: Worker) -> dict:
    """A result for a process that ended without one."""
    lines = [line for line in _tail(RunFolder(worker.point.run.directory).log).splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line]
    reason = (errors or lines or ["no output"])[-1].removeprefix("hcexp: error: ")
    return {
        "state": "failed",
        "error": f"{reason} (exit status {worker.process.exitcode})",
        "overrides": shareable(worker.point.run.overrides),
        "seed": worker.point.seed,
        "log": lines[-20:],
    }


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
