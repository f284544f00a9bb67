"""The report of a sweep, shown in the terminal and written beside its runs."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hcexp.report.render import write
from hcexp.report.report import build
from hcexp.report.search import SearchReport, show_search, write_search
from hcexp.report.terminal import show
from hcexp.study import Point, Sweep, outcome
from hcexp.study.search.search import Search
from hcexp.tables.terminal import say


def publish(
    sweep: Sweep, points: Sequence[Point], scale: str, command: str, console: Console, *, analyse: bool = False
) -> Path:
    """Show the table, and write the report's files beside the runs, into the folder that is returned.

    Args:
        sweep: a table, or a search, of which what it has found is shown and written.
        points: the sweep's, of a search its rows in their default configuration.
        scale: of the points.
        command: repeats the sweep.
        console: where it is shown.
        analyse: the first finished seed of each row is analysed before.
    """
    folder = sweep.report_folder(points[0].run.config.paths.runs, scale)
    if sweep.search:
        found = Search(sweep, scale, points).found()
        searched = SearchReport(sweep, scale, points[0].run.suite.name, found, command)
        show_search(searched, console)
        written = write_search(searched, folder)
    else:
        outcomes = [outcome(point) for point in points]
        if analyse:
            _analyse(outcomes, console)
        built = build(sweep, outcomes, scale, command, folder)
        show(built, console)
        written = write(built, folder)
        if not built.matrices.rows and built.results.finished:
            say("hcexp report --analyse adds the connection matrices of every row", console)
    for path in written:
        say(f"report: {path}", console)
    say("make ui, or hcexp ui, shows every run in MLflow at http://127.0.0.1:5000", console)
    return folder


def _analyse(outcomes: Sequence, console: Console) -> None:
    """Analyse the first finished seed of every row."""
    from hcexp.analysis.checkpoint import analyse_runs  # draws, which takes a while to import

    firsts: dict[str, Path] = {}
    for one in sorted(outcomes, key=lambda one: one.seed):
        if one.state == "finished":
            firsts.setdefault(one.label, one.directory)
    analyse_runs(firsts.values(), lambda line: say(line, console))
