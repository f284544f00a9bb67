"""The report in a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hcexp.report.contents import Report
from hcexp.report.grid import grid
from hcexp.report.heading import subtitle
from hcexp.report.suites import title
from hcexp.report.unfinished import became, name

# What the whole table takes, and what the essential columns take with every cell on one line.
WIDE = 190
NARROW = 112


def show(report: Report, console: Console) -> None:
    """Table, notes, statements, warnings and what is unfinished. Labels are shown as they are, not as markup."""
    content = grid(report)
    chosen = [index for index, column in enumerate(content.columns) if console.width >= WIDE or column.essential]
    lines = [Text(report.sweep.title, style="bold")]
    lines += [Text(f"{title(name)}: {look}", style="yellow") for name, look in report.looks.items()]
    table = Table(title=Text("\n").join(lines), caption=Text(subtitle(report)), box=None)
    for index in chosen:
        column = content.columns[index]
        side = "left" if index == 0 else "right" if column.numeric else "center"
        header = Text(column.header.replace(" ", "\n"))
        table.add_column(header, justify=side, vertical="bottom", no_wrap=console.width >= NARROW)
    for row, cells in zip(report.rows, content.rows, strict=True):
        table.add_row(*(Text(cells[index].text) for index in chosen), style="dim" if row.is_baseline else "")
    console.print(table)
    for sentence in (*report.statements, *content.notes):
        console.print(Text(sentence), soft_wrap=False)
    for warning in report.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))
    for outcome in report.unfinished:
        console.print(Text(f"{name(outcome)}: {became(outcome)}", style="red"))
