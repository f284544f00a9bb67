"""Paper beside measured, from the runs that there are; nothing is trained.

Prints the table and writes it as Markdown, LaTeX, CSV and one HTML page with the loss curves. With --analyse, one run
of each row is analysed first, unless it was before, and the page shows their connection matrices.

example:
  hcexp report table1
  hcexp report table1 --scale 1b --seeds 3
  hcexp report table2 --seeds 3 --analyse
"""

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from hcexp.cli.arguments import add_sweep, parse, parser
from hcexp.cli.quiet import quiet


def main(arguments: Sequence[str]) -> int:
    options = parser("report", __doc__)
    add_sweep(options)
    options.add_argument("--analyse", action="store_true", help="analyse the first finished seed of each row before")
    chosen = parse(options, arguments, words=["sweep"])
    quiet()
    from rich.console import Console

    sweep, points = planned(chosen)
    report(sweep, points, chosen, Console(), analyse=chosen.analyse)
    return 0


def planned(chosen: Namespace) -> tuple:
    """The sweep that the options name, and its points."""
    from dataclasses import replace

    from hcexp.configuration import shipped
    from hcexp.study import load_sweep, plan

    for override in chosen.overrides:
        knob = override.partition("=")[0].lstrip("+")
        if knob in ("scale", "seed"):
            option = {"scale": "--scale", "seed": "--seeds"}[knob]
            raise ValueError(f"{override} cannot be an override of a whole sweep: use {option}")
    sweep = load_sweep(chosen.sweep or "quick", shipped("sweeps"))
    if chosen.seeds:
        sweep = replace(sweep, seeds=chosen.seeds)
    return sweep, plan(sweep, chosen.scale, chosen.overrides)


def report(sweep, points: list, chosen: Namespace, console, analyse: bool = False) -> None:
    """Show the table and write the report's files beside the runs."""
    from hcexp.configuration import shareable
    from hcexp.report import build, show, write
    from hcexp.study import outcome

    seeds = ",".join(map(str, sweep.seeds)) + ("," if len(sweep.seeds) == 1 else "")
    words = ["hcexp", "sweep", chosen.sweep or "quick", "--scale", chosen.scale, "--seeds", seeds]
    command = shlex.join([*words, *shareable(chosen.overrides)])
    folder = Path(points[0].run.config.paths.runs) / "reports" / f"{sweep.name}-{chosen.scale}"
    outcomes = [outcome(point) for point in points]
    if analyse:
        _analyse(outcomes, console)
    built = build(sweep, outcomes, chosen.scale, command, folder)
    show(built, console)
    for path in write(built, folder):
        console.print(f"report: {path}", highlight=False, soft_wrap=True)
    if not built.matrices.rows and any(row.finished for row in built.rows):
        console.print("hcexp report --analyse adds the connection matrices of every row", highlight=False)
    console.print("make ui, or hcexp ui, shows every run in MLflow at http://127.0.0.1:5000", highlight=False)


def _analyse(outcomes: list, console) -> None:
    """The first finished seed of every row."""
    from hcexp.cli.analyse import analyse_runs

    firsts: dict[str, Path] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.seed):
        if outcome.state == "finished":
            firsts.setdefault(outcome.label, outcome.directory)
    analyse_runs(firsts.values(), console)
