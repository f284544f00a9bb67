"""The paper's tables as rows with a label."""

from dataclasses import dataclass
from typing import Any

from hcexp.paper.errata import errata
from hcexp.paper.source import entry

# The columns that hold a loss, and so a direction: lower is better.
LOSSES = ("v2_loss", "v3_loss")

# Table 3 has no baseline row. The baseline of its ablation is the OLMo-1B that Table 1 prints, trained on
# the same 500B tokens and shown in the same columns.
ELSEWHERE = {(3, "OLMo-1B"): 1}


@dataclass(frozen=True)
class PaperTable:
    """One table.

    `columns` and the values of `rows` keep the paper's units: losses in nats per token; perplexities are
    arithmetic means of the per-set perplexities, not exp(mean loss); accuracies and deltas in percent;
    a name that ends in `_b` counts billions, in `_m` millions, in `_gb` gigabytes. None: not printed.
    Every row carries its `label`, spelled as Tables 15 to 19 spell it.
    """

    number: int
    title: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(row["label"] for row in self.rows)

    def row(self, label: str) -> dict[str, Any]:
        """The row of that label; ValueError if the table has none."""
        for row in self.rows:
            if row["label"] == label:
                return row
        raise ValueError(f"Table {self.number} has no row {label!r}; its rows are {', '.join(self.labels)}")


@dataclass(frozen=True)
class Printed:
    """A row of the paper and the number of the table that prints it."""

    row: dict[str, Any]
    table: int


def table(number: int, corrected: bool = False) -> PaperTable:
    """Table `number` as printed, or with its errata put right.

    `corrected` takes the rows with their labels exchanged back (Tables 17 to 19), and replaces a single
    wrong cell (Table 1). An erratum that knows no right value leaves the printed one: see `errata`.

    Raises:
        ValueError: if the paper has no such table, or if it is a list of settings (see `listing`).
    """
    stored = entry(number)
    if "columns" not in stored:
        raise ValueError(f"paper table {number}: it lists settings and has no rows; use listing({number})")
    columns = tuple(stored["columns"])
    values = stored.get("corrected", stored["as_printed"]) if corrected else stored["as_printed"]
    rows = tuple(_row(columns, row) for row in values)
    if corrected:
        for row in rows:
            _correct(number, row)
    return PaperTable(number, stored["title"], columns, rows)


def listing(number: int) -> Any:
    """The settings of Tables 12 to 14: a dict, or a list of names.

    Raises:
        ValueError: if the paper has no such table, or if it has rows (see `table`).
    """
    stored = entry(number)
    if "values" not in stored:
        raise ValueError(f"paper table {number}: it has rows; use table({number})")
    return stored["values"]


def printed(number: int, label: str) -> Printed | None:
    """What the paper prints for `label`, first in Table `number`; None if it prints nothing.

    Table 3 prints no baseline: for its `OLMo-1B` the row is Table 1's, and `Printed.table` says so.
    """
    source = ELSEWHERE.get((number, label), number)
    found = table(source)
    return Printed(found.row(label), source) if label in found.labels else None


def _row(columns: tuple[str, ...], values: list[Any]) -> dict[str, Any]:
    row = dict(zip(columns, values, strict=True))
    return {"label": _label(row), **row}


def _label(row: dict[str, Any]) -> str:
    if "train_wc" in row:
        frozen = "" if row["train_wc"] else ", WC frozen"
        frozen += "" if row["train_b"] else ", B frozen"
        return f"DHC×4{frozen}{'' if row['tanh'] else ' W/O tanh'}"
    # Table 10 trains one model twice; Table 11 is the one table whose rows are not models but their scales.
    if "precision" in row:
        return f"{row['model']}, {row['precision']}"
    return row.get("model") or row["scale"]


def _correct(number: int, row: dict[str, Any]) -> None:
    for erratum in errata(number):
        if erratum.should_be is not None and erratum.tables[0] == number and erratum.row == row["label"]:
            row[erratum.column] = erratum.should_be
