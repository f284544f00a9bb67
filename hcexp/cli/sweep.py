"""Measure a table of the paper: run every row and seed that is not finished, then report paper beside measured.

A finished run is not run again: a sweep that was stopped goes on, and more seeds run only the new ones.
A run that fails does not stop the others; it is named at the end, and the exit status is 1.

example:
  hcexp sweep                                   quick: Table 1's rows at scale=tiny
  hcexp sweep table2 --seeds 3 --workers 2
  hcexp sweep table1 --scale 60m --workers 1 trainer.devices=8 trainer.strategy=ddp trainer.accumulate_grad_batches=2
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hcexp.cli.arguments import add_sweep, parse, parser, whole
from hcexp.cli.quiet import quiet

if TYPE_CHECKING:
    from rich.console import Console

    from hcexp.study import Point


def main(arguments: Sequence[str]) -> int:
    options = parser("sweep", __doc__)
    add_sweep(options)
    options.add_argument("--workers", type=whole, help="runs at a time (default: one a GPU, or one a core without)")
    chosen = parse(options, arguments, words=["sweep"])
    quiet()
    from rich.console import Console

    from hcexp.cli.report import planned, report
    from hcexp.study.workers import LOG, default_workers

    sweep, points = planned(chosen)
    todo = [point for point in points if point.run.result()["state"] != "finished"]
    workers = min(chosen.workers or default_workers(len(todo)), max(len(todo), 1))
    console = Console()
    console.print(
        f"{sweep.name} at scale={chosen.scale}: {len(points)} runs, {len(points) - len(todo)} finished before, "
        f"{workers} at a time; stop it at any time, the same command goes on",
        highlight=False,
    )
    failed = _run(todo, workers, console) if todo else []
    report(sweep, points, chosen, console)
    for point, error in failed:
        print(f"hcexp: failed: {point.name}: {error} (log: {point.run.directory / LOG})", file=sys.stderr)
    return 1 if failed else 0


def _run(todo: list["Point"], workers: int, console: "Console") -> list[tuple["Point", str]]:
    """Prepare the data once, run the points under a progress line for all of them; returns what failed, and why."""
    from hcexp.cli.progress import SweepProgress
    from hcexp.study import run_points
    from hcexp.tracking import open_store

    config = todo[0].run.config
    todo[0].run.prepare()
    if "uri" in config.tracking:  # made here, or refused, before several workers open it at once
        open_store(config.tracking.uri, config.paths.runs, config.tracking.experiment)
    runs = len({point.run.identity for point in todo})
    with _exit_on_signals(), SweepProgress(runs, console) as progress:
        run_points(todo, workers, changed=progress.changed, ended=progress.ended)
    return progress.failed


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
