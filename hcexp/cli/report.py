"""Paper beside measured, from the runs that there are; nothing is trained.

Prints the table and the answer, and writes all of it as Markdown, LaTeX, CSV and one HTML page with the loss curves.
With --analyse, one run of each row is analysed first, unless it was before, and the page shows their connection
matrices. Of a search: what it has found, and the tuned values that other sweeps take.

example:
  hcexp report table1
  hcexp report table1 --scale 1b --seeds 3
  hcexp report table2 sweep.tuned=tune_lr
  hcexp report table2 --seeds 3 --analyse
"""

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from hcexp.cli.arguments import add_sweep, parse, parser
from hcexp.cli.quiet import quiet

TUNED = "sweep.tuned"


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
    """The sweep that the options name, and its points; of a search, its rows in their default configuration."""
    from dataclasses import replace

    from hcexp.configuration import shipped
    from hcexp.study import load_sweep, plan
    from hcexp.study.sweep.tuning import tuned

    for override in chosen.overrides:
        knob = override.partition("=")[0].lstrip("+")
        if knob in ("scale", "seed"):
            option = {"scale": "--scale", "seed": "--seeds"}[knob]
            raise ValueError(f"{override} cannot be an override of a whole sweep: use {option}")
        if knob.startswith("sweep.") and knob != TUNED:
            raise ValueError(f"{knob} is not a setting of a sweep: there is {TUNED}")
    sweep = load_sweep(chosen.sweep or "quick", shipped("sweeps"))
    if chosen.seeds:
        sweep = replace(sweep, seeds=chosen.seeds)
    overrides = [override for override in chosen.overrides if not override.startswith(f"{TUNED}=")]
    if given := [override for override in chosen.overrides if override not in overrides]:
        name = given[-1].partition("=")[2]
        sweep = tuned(sweep, _tuned_file(name, sweep, chosen.scale, overrides), chosen.scale, overrides)
    return sweep, plan(sweep, chosen.scale, overrides)


def _tuned_file(name: str, sweep, scale: str, overrides: Sequence[str]) -> Path:
    """A path is one; the name of a search stands for what it wrote beside these runs."""
    from hcexp.configuration import compose
    from hcexp.study.sweep.tuning import FILE

    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    runs = compose([f"scale={scale}", *sweep.overrides, *overrides]).paths.runs
    return Path(runs) / "reports" / f"{name}-{scale}" / FILE


def report(sweep, points: list, chosen: Namespace, console, analyse: bool = False) -> Path:
    """Show the table and write the report's files beside the runs, in the folder that is returned."""
    from hcexp.configuration import shareable

    seeds = ",".join(map(str, sweep.seeds)) + ("," if len(sweep.seeds) == 1 else "")
    words = ["hcexp", "sweep", chosen.sweep or "quick", "--scale", chosen.scale, "--seeds", seeds]
    command = shlex.join([*words, *shareable(chosen.overrides)])
    name = f"{sweep.name}-{chosen.scale}" + ("-tuned" if sweep.tuning else "")
    folder = Path(points[0].run.config.paths.runs) / "reports" / name
    if sweep.search:
        written = _search(sweep, points, chosen.scale, command, folder, console)
    else:
        written = _table(sweep, points, chosen.scale, command, folder, console, analyse)
    for path in written:
        console.print(f"report: {path}", highlight=False, soft_wrap=True)
    console.print("make ui, or hcexp ui, shows every run in MLflow at http://127.0.0.1:5000", highlight=False)
    return folder


def _table(sweep, points: list, scale: str, command: str, folder: Path, console, analyse: bool) -> list[Path]:
    from hcexp.report.render import write
    from hcexp.report.report import build
    from hcexp.report.terminal import show
    from hcexp.study import outcome

    outcomes = [outcome(point) for point in points]
    if analyse:
        _analyse(outcomes, console)
    built = build(sweep, outcomes, scale, command, folder)
    show(built, console)
    written = write(built, folder)
    if not built.matrices.rows and built.results.finished:
        console.print("hcexp report --analyse adds the connection matrices of every row", highlight=False)
    return written


def _search(sweep, points: list, scale: str, command: str, folder: Path, console) -> list[Path]:
    from hcexp.report.search import SearchReport, show_search, write_search
    from hcexp.study.search.search import Search

    found = Search(sweep, scale, points).found()
    built = SearchReport(sweep, scale, points[0].run.suite.name, found, command)
    show_search(built, console)
    return write_search(built, folder)


def _analyse(outcomes: list, console) -> None:
    """The first finished seed of every row."""
    from hcexp.cli.analyse import analyse_runs

    firsts: dict[str, Path] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.seed):
        if outcome.state == "finished":
            firsts.setdefault(outcome.label, outcome.directory)
    analyse_runs(firsts.values(), console)
