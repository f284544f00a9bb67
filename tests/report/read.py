"""What tests read back from a report."""

import io

from rich.console import Console

from hcexp.report.terminal import show


def lines(table):
    """A dictionary of each row's texts by header."""
    headers = [column.header for column in table.columns]
    return [dict(zip(headers, row, strict=True)) for row in table.rows]


def by_label(table):
    """The same by the label, without its marks."""
    return {line[table.columns[0].header].rstrip(" †‡"): line for line in lines(table)}


def section(report, title):
    """The first section whose title begins so."""
    return next(section for section in report.sections if section.title.startswith(title))


def said(report):
    return section(report, "What the numbers say").sentences


def shown(report, width=130):
    """What the terminal shows."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(report, console)
    return console.file.getvalue()
