"""The paper's own mistakes: what a table prints and what the other tables say it should be."""

from dataclasses import dataclass

from hcexp.paper.source import document, entry

# An erratum is filed under one table; this one speaks of a second as well.
ALSO = {"E2": (2,)}


@dataclass(frozen=True)
class Erratum:
    """One mistake. `tables` are those it touches, first the one whose rows and columns it names.

    `row` and `column` are None where it concerns the whole table, and prose where it concerns several;
    `printed` and `should_be` are set only where a single cell is wrong, in that column's unit.
    """

    id: str
    tables: tuple[int, ...]
    row: str | None
    column: str | None
    printed: float | None
    should_be: float | None
    why: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (f"Table {self.tables[0]}", self.row, self.column) if part)
        change = f"printed {self.printed}, should be {self.should_be}; " if self.should_be is not None else ""
        return f"{self.id} ({place}): {change}{self.why}"


def errata(number: int) -> tuple[Erratum, ...]:
    """The errata that touch Table `number`, in the order of their ids; often none.

    Raises:
        ValueError: if the paper has no such table.
    """
    entry(number)
    return tuple(erratum for erratum in map(_erratum, document()["errata"]) if number in erratum.tables)


def _erratum(stored: dict) -> Erratum:
    first, _, last = str(stored["table"]).partition("-")
    tables = range(int(first), int(last or first) + 1)
    return Erratum(
        id=stored["id"],
        tables=(*tables, *ALSO.get(stored["id"], ())),
        row=stored.get("row"),
        column=stored.get("column"),
        printed=stored.get("printed"),
        should_be=stored.get("should_be"),
        why=stored["why"],
    )
