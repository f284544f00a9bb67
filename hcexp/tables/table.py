"""A table of text cells, laid out once for the terminal, Markdown, LaTeX and HTML."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hcexp.tables.format import NOTHING


@dataclass(frozen=True)
class Column:
    """One column and its `header`; `short` is the header where the `group` stands above it.

    Columns with one `group` stand under it together. An `extra` column goes first where there is no room for all;
    `printed` ones are the paper's. `mark` says what holds for every value, such as how much of a suite was read.
    """

    header: str
    group: str = ""
    side: Literal["left", "right", "center"] = "right"
    extra: bool = False
    printed: bool = False
    short: str = ""
    mark: str = ""


class Cell(str):
    """A text; `interval`, with a `mean` and a `half_width`, is what a page draws beside it."""

    interval: Any = None

    def __new__(cls, text: str, interval: Any = None) -> "Cell":
        cell = super().__new__(cls, text)
        cell.interval = interval
        return cell


@dataclass(frozen=True)
class Table:
    """Columns, of which the first names the rows, and a cell for each of them in every row.

    `strong` is the place of the row that the others are compared with. With `one_scale` a page draws the intervals of
    all columns on one scale.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    strong: int | None = None
    one_scale: bool = False

    def only(self, wanted: Callable[[Column], bool]) -> "Table":
        """The same table with the first column and those that are wanted."""
        kept = [at for at, column in enumerate(self.columns) if not at or wanted(column)]
        rows = tuple(tuple(row[at] for at in kept) for row in self.rows)
        return Table(self.title, tuple(self.columns[at] for at in kept), rows, self.notes, self.strong, self.one_scale)


Entry = tuple[Column, Callable[[Any], str | None]]


def lay_out(title: str, records: Iterable[Any], entries: Iterable[Entry], **others: Any) -> Table:
    """The table with a row for each record: a cell is what the column's function says of it, – where that is nothing.

    `others` are those of `Table`.
    """
    entries = tuple(entries)
    rows = tuple(tuple(of(record) or NOTHING for _, of in entries) for record in records)
    return Table(title, tuple(column for column, _ in entries), rows, **others)
