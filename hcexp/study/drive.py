"""A sweep driven from this process: what is missing is run, under a progress line, with its parent run in MLflow."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from hcexp.study.drivers import announced
from hcexp.study.ledger import Ledger
from hcexp.study.parent_run import ParentRun
from hcexp.study.point import Point
from hcexp.study.progress import SweepProgress
from hcexp.study.queue import Queue
from hcexp.study.search.search import Search
from hcexp.study.sweep.sweep import Sweep
from hcexp.study.wait_for_store import WaitForStore
from hcexp.study.workers import Worker, default_workers, run_points
from hcexp.tables.terminal import say
from hcexp.tracking import open_store, store_uri


def drive(
    sweep: Sweep,
    points: Sequence[Point],
    scale: str,
    report: Callable[[], Path],
    console: Console,
    *,
    command: Sequence[str],
    workers: int | None = None,
    join: bool = False,
) -> list[tuple[Point, str]]:
    """Run every point that is not finished, then report; returns those that failed for good, with their errors.

    Args:
        sweep: a table, or a search.
        points: its points.
        scale: of the points.
        report: called in the end; the files in the folder that it gives go to MLflow.
        console: where the progress is shown.
        command: the arguments of `hcexp sweep` with which another process joins.
        workers: runs at a time; None for one a GPU, or one a core without.
        join: leave what failed for good to the one who mends it.
    """
    queue: Queue = Search(sweep, scale, points) if sweep.search else Ledger(f"{sweep.name} at scale={scale}", points)
    finished = queue.tally().settled - len(queue.failed())
    if not join:
        queue.renew()
    tally, first = queue.tally(), points[0].run
    todo = tally.points - tally.settled
    workers = min(workers or default_workers(todo), max(todo, 1))
    say(
        f"{sweep.name} at scale={scale}: {tally.points} runs, {finished} finished before, {workers} at a time; stop it "
        "at any time, the same command goes on",
        console,
    )
    tracking, runs = first.config.tracking, first.config.paths.runs
    if todo:  # what all runs need is prepared once
        first.prepare()
        if "uri" in tracking:  # made here, or refused, before several workers open it at once
            open_store(tracking.uri, runs, tracking.experiment)
    with ParentRun(sweep, scale, first.config, queue.known()) as parent:
        if todo:
            with announced(Path(runs), command), _exit_on_signals(), SweepProgress(queue, console) as progress:
                uri = store_uri(tracking.uri, runs) if "uri" in tracking else None
                _run(WaitForStore(queue, uri, progress.say) if uri else queue, workers, parent, progress)
        folder = report()
        failed = queue.failed()
        parent.close("FAILED" if failed else "FINISHED", folder)
    return failed


def _run(queue: Queue, workers: int, parent: ParentRun, progress: SweepProgress) -> None:
    def changed(running: list[Worker]) -> None:
        progress.changed(running)
        for worker in running:
            parent.adopt(worker.point.run.identity, worker.point.row.label)

    def ended(worker: Worker, result: dict) -> None:
        progress.ended(worker, result)
        parent.ended(worker.point.run.identity, worker.point.row.label, result["error"] if worker.killed else None)

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
