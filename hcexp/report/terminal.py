"""A report in the terminal: the main table, the answer, and what went wrong."""

from dataclasses import replace

from rich.console import Console
from rich.text import Text

from hcexp.report.report import Report
from hcexp.tables import terminal


def show(report: Report, console: Console) -> None:
    """Print what a reader wants first; the page has the rest. Texts are shown as they are, not as markup."""
    console.print(Text(report.title, style="bold"))
    console.print(Text(report.subtitle, style="dim"))
    terminal.show(replace(report.main, title="", notes=()), console)
    for sentence in report.answer or report.noise:
        console.print(Text(sentence))
    for warning in report.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))
    for run in report.results.unfinished:
        console.print(Text(run, style="red"))
