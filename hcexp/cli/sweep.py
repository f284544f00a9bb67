"""Measure a table of the paper: run every row and seed that is not finished, then report paper beside measured.

A finished run is not run again: a sweep that was stopped goes on, and more seeds run only the new ones.
A run that fails does not stop the others and is tried again, three times in all; what fails then is named at the end,
and the exit status is 1. The same command gives it three more attempts.

The same sweep may run in several terminals at once: every run is made once, and all of them report in the end.

example:
  hcexp sweep                                   quick: Table 1's rows at scale=tiny
  hcexp sweep table2 --seeds 3 --workers 2
  hcexp sweep --join runs                       more workers for the sweep that is at work on runs/
  hcexp sweep --join table2 --seeds 3           the same, and it need not be at work any more
  hcexp sweep table1 --scale 60m --workers 1 trainer.devices=8 trainer.strategy=ddp trainer.accumulate_grad_batches=2
"""

import os
import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.cli.arguments import add_sweep, parse, parser, whole
from hcexp.cli.quiet import quiet

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from hcexp.study import Queue
    from hcexp.study.parent_run import ParentRun
    from hcexp.study.sweep.sweep import Sweep


def main(arguments: Sequence[str]) -> int:
    options = parser("sweep", __doc__)
    add_sweep(options)
    options.add_argument("--workers", type=whole, help="runs at a time (default: one a GPU, or one a core without)")
    options.add_argument(
        "--join",
        action="store_true",
        help="help with a sweep that runs elsewhere, as it stands there: SWEEP is its name, or the folder of its runs",
    )
    options.add_argument("--rerun-stale", action="store_true", help="repeat finished runs that other code has made")
    chosen = parse(options, arguments, words=["sweep"])
    if chosen.join:
        chosen = parse(options, _joined(chosen, arguments), words=["sweep"])
    quiet()
    from rich.console import Console

    from hcexp.cli.report import planned, report
    from hcexp.run.folder import RunFolder
    from hcexp.study.drivers import announced
    from hcexp.study.parent_run import ParentRun

    sweep, points = planned(chosen)
    console = Console()
    if chosen.rerun_stale:
        if sweep.search:
            raise ValueError(f"--rerun-stale: {sweep.name} is a search, whose trials are not repeated: leave it out")
        _set_aside(points, console)
    queue = _queue(sweep, points, chosen)
    workers = _prepare(queue, sweep, points, chosen, console)
    config = points[0].run.config
    with ParentRun(sweep, chosen.scale, config, queue.known()) as parent:
        if workers:
            with announced(Path(config.paths.runs), _arguments(sweep, chosen)):
                _run(queue, workers, config, parent, console)
        folder = report(sweep, points, chosen, console)
        failed = queue.failed()
        parent.close("FAILED" if failed else "FINISHED", folder)
    for point, error in failed:
        print(f"hcexp: failed: {point.name}: {error} (log: {RunFolder(point.run.directory).log})", file=sys.stderr)
    return 1 if failed else 0


def _queue(sweep: "Sweep", points: list, chosen: Namespace) -> "Queue":
    from hcexp.study import Ledger
    from hcexp.study.search.search import Search

    return (
        Search(sweep, chosen.scale, points) if sweep.search else Ledger(f"{sweep.name} at scale={chosen.scale}", points)
    )


def _set_aside(points: list, console: "Console") -> None:
    from hcexp.study.stale import set_aside_stale

    moved = set_aside_stale(points)
    runs = "1 finished run was" if len(moved) == 1 else f"{len(moved)} finished runs were"
    console.print(f"{runs} made by other code", highlight=False)
    for folder in moved:
        console.print(f"  moved to {folder}", highlight=False, soft_wrap=True)


def _prepare(queue: "Queue", sweep: "Sweep", points: list, chosen: Namespace, console: "Console") -> int:
    """Say what is to be done, and prepare once what all runs need; how many are to run at a time, 0 if all is done."""
    from hcexp.study.workers import default_workers
    from hcexp.tracking import open_store

    finished = queue.tally().settled - len(queue.failed())
    if not chosen.join:
        queue.renew()
    tally = queue.tally()
    todo = tally.points - tally.settled
    workers = min(chosen.workers or default_workers(todo), max(todo, 1))
    console.print(
        f"{sweep.name} at scale={chosen.scale}: {tally.points} runs, {finished} finished before, "
        f"{workers} at a time; stop it at any time, the same command goes on",
        highlight=False,
    )
    if not todo:
        return 0
    config = points[0].run.config
    points[0].run.prepare()
    if "uri" in config.tracking:  # made here, or refused, before several workers open it at once
        open_store(config.tracking.uri, config.paths.runs, config.tracking.experiment)
    return workers


def _arguments(sweep: "Sweep", chosen: Namespace) -> list[str]:
    """Those with which another process would run the same points; a password of the tracking server is none."""
    from hcexp.configuration import shareable

    seeds = ",".join(map(str, sweep.seeds)) + ","
    return [chosen.sweep or "quick", "--scale", chosen.scale, "--seeds", seeds, *shareable(chosen.overrides)]


def _joined(chosen: Namespace, arguments: Sequence[str]) -> Sequence[str]:
    """The arguments; if they name a store, those of the sweep at work on it, in whose folder this process goes on."""
    from hcexp.study.drivers import at_work, is_store

    if not is_store(chosen.sweep):
        return arguments
    store = Path(chosen.sweep)
    options = [word for word in arguments if word.startswith(("--scale", "--seeds"))]
    overrides = [word for word in chosen.overrides if not word.lstrip("+").startswith("tracking.")]
    if own := [*options, *overrides]:
        raise ValueError(f"--join {store} takes the sweep that is at work there as it is: leave {own[0]} out")
    found = at_work(store)
    if not found:
        raise ValueError(f"--join {store}: no sweep is at work there: begin one, or name the sweep that is meant")
    if len(found) > 1:
        commands = "; ".join(shlex.join(["hcexp", "sweep", "--join", *command.arguments]) for command in found)
        raise ValueError(f"--join {store}: {len(found)} sweeps are at work there, name one of them: {commands}")
    os.chdir(found[0].folder)
    workers = ["--workers", str(chosen.workers)] if chosen.workers else []
    return [*found[0].arguments, "--join", *workers, *chosen.overrides]


def _run(queue: "Queue", workers: int, config: "DictConfig", parent: "ParentRun", console: "Console") -> None:
    """Run what is not settled under a progress line for all of it."""
    from hcexp.cli.progress import SweepProgress
    from hcexp.study import run_points
    from hcexp.study.wait_for_store import WaitForStore
    from hcexp.study.workers import Worker
    from hcexp.tracking import store_uri

    with _exit_on_signals(), SweepProgress(queue, console) as progress:

        def changed(running: list[Worker]) -> None:
            progress.changed(running)
            for worker in running:
                parent.adopt(worker.point.run.identity, worker.point.row.label)

        def ended(worker: Worker, result: dict) -> None:
            progress.ended(worker, result)
            parent.ended(worker.point.run.identity, worker.point.row.label, result["error"] if worker.killed else None)

        if "uri" in config.tracking:
            queue = WaitForStore(queue, store_uri(config.tracking.uri, config.paths.runs), progress.say)
        run_points(queue, workers, changed=changed, ended=ended)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let the signals that would end this process at once raise SystemExit, so that its workers are ended too."""
    before = {
        signum: signal.signal(signum, lambda signum, _: sys.exit(128 + signum))
        for signum in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
