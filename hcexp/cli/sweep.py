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
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.cli.arguments import add_sweep, parse_sweep, parser, sweep_command, whole

if TYPE_CHECKING:
    from rich.console import Console


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
    chosen = parse_sweep(options, arguments)
    if chosen.join:
        chosen = parse_sweep(options, _joined(chosen, arguments))
    from rich.console import Console

    from hcexp.report.publish import publish
    from hcexp.run.folder import RunFolder
    from hcexp.study import plan
    from hcexp.study.drive import drive
    from hcexp.study.named_sweep import named_sweep

    overrides, console = [f"scale={chosen.scale}", *chosen.overrides], Console()
    sweep = named_sweep(chosen.sweep, overrides, seeds=chosen.seeds, tuned=chosen.tuned)
    points = plan(sweep, chosen.scale, chosen.overrides)
    if chosen.rerun_stale:
        if sweep.search:
            raise ValueError(f"--rerun-stale: {sweep.name} is a search, whose trials are not repeated: leave it out")
        _set_aside(points, console)
    command = sweep_command(chosen, sweep.seeds)
    failed = drive(
        sweep,
        points,
        chosen.scale,
        lambda: publish(sweep, points, chosen.scale, shlex.join(["hcexp", "sweep", *command]), console),
        console,
        command=command,
        workers=chosen.workers,
        join=chosen.join,
    )
    for point, error in failed:
        print(f"hcexp: failed: {point.name}: {error} (log: {RunFolder(point.run.directory).log})", file=sys.stderr)
    return 1 if failed else 0


def _set_aside(points: list, console: "Console") -> None:
    from hcexp.study.stale import set_aside_stale
    from hcexp.tables.terminal import say

    moved = set_aside_stale(points)
    runs = "1 finished run was" if len(moved) == 1 else f"{len(moved)} finished runs were"
    say(f"{runs} made by other code", console)
    for folder in moved:
        say(f"  moved to {folder}", console)


def _joined(chosen: Namespace, arguments: Sequence[str]) -> Sequence[str]:
    """The arguments; if they name a store, those of the sweep at work on it, in whose folder this process goes on."""
    from hcexp.study.drivers import at_work, is_store

    if not is_store(chosen.sweep):
        return arguments
    store = Path(chosen.sweep)
    options = [word for word in arguments if word.startswith(("--scale", "--seeds", "--tuned"))]
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
