"""A table in the terminal."""

from textwrap import wrap

from rich import box
from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from hcexp.tables.table import Table

HEADER = 10  # characters that a line of a header may have, though no cell below it has as many


def console() -> Console:
    """The terminal; where the output goes to a file, one that is wide enough for every table."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=1000)


def show(table: Table, console: Console) -> None:
    """Print the title, the table and its notes. Texts are shown as they are, never as markup.

    Extra columns are left out where the terminal has no room for all. Headers wrap between words; labels and numbers
    never do: a narrow terminal gets longer lines, not half a number.
    """
    whole = _rich(table)
    if whole.__rich_measure__(console, console.options.update(max_width=10_000)).maximum > console.width:
        whole = _rich(table.only(lambda column: not column.extra))
    console.print(whole, crop=False)
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _rich(table: Table) -> rich_table.Table:
    made = rich_table.Table(
        title=Text(f"\n{table.title}", style="bold") if table.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for at, column in enumerate(table.columns):
        words = column.header.split()
        width = max(map(cell_len, (*(row[at] for row in table.rows), *words)), default=0)
        header = "\n".join(wrap(column.header, max(width, HEADER)))
        made.add_column(Text(header), justify=column.side, vertical="bottom", min_width=width)
    for at, row in enumerate(table.rows):
        made.add_row(*map(Text, row), style="dim" if at == table.strong else "")
    return made


def say(line: str, console: Console | None = None) -> None:
    """Print a line as it is, however long."""
    (console or Console()).print(line, highlight=False, markup=False, soft_wrap=True)
