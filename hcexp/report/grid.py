"""The report's table as text cells, laid out once for every format."""

from collections.abc import Callable
from dataclasses import dataclass

from hcexp.report.contents import Measure, Report, ReportRow
from hcexp.report.looks import marked
from hcexp.report.numbers import NOTHING, as_printed, fixed, verdict, with_interval, yes_no
from hcexp.report.statements import PAPER_LOSS
from hcexp.report.statistics import Estimate
from hcexp.report.suites import ACCURACY, DOWNSTREAM, MEASURES, SPIKE_SCORE, SPIKES, compared, title

PAPER_COLUMNS = {
    "v2_loss": "V2 loss",
    "v2_ppl": "V2 ppl",
    "v3_loss": "V3 loss",
    "v3_ppl": "V3 ppl",
    "downstream_accuracy": "accuracy %",
}
# What names a row is its label, not a value.
NAMING = ("model", "precision", "scale", "train_wc", "train_b", "tanh")

INCOMPLETE = "†"
ELSEWHERE = "‡"


@dataclass(frozen=True)
class Column:
    """`group` is what columns stand under together; `essential` ones stay where there is no room for all.

    `printed` columns are the paper's; `short` is the header where the group is written above it, if another; `look`
    says how much was read, where that was not all.
    """

    group: str
    header: str
    numeric: bool = True
    essential: bool = False
    printed: bool = False
    short: str = ""
    look: str = ""


@dataclass(frozen=True)
class Cell:
    """`text` to show; `interval` is set where a renderer may draw it."""

    text: str
    interval: Estimate | None = None


@dataclass(frozen=True)
class Grid:
    """`columns` and, for every row that it has of the report, a cell for each; the first column is the label.

    `one_scale`: the intervals of all columns are drawn on one scale.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    one_scale: bool = False


def grid(report: Report) -> Grid:
    """The paper's columns, then those of each suite, then those of the run."""
    columns = [Column("", "row", numeric=False, essential=True)]
    cells: list[list[Cell]] = [[Cell(_label(report, row))] for row in report.rows]

    def add(column: Column, of: Callable[[ReportRow], Cell | str]) -> None:
        columns.append(column)
        for row, line in zip(report.rows, cells, strict=True):
            made = of(row)
            line.append(made if isinstance(made, Cell) else Cell(made))

    for name in paper_columns(report):
        header = f"paper {paper_header(name)}"
        column = Column("paper", header, essential=name in PAPER_LOSS, printed=True)
        add(column, lambda row, name=name: _printed(row, name))
    for suite in report.suites:
        for key, (header, decimals) in MEASURES.items():
            metric = f"{suite}/mean/{key}"
            column = Column(
                suite, f"{title(suite)} {header}", essential=key == "loss", look=report.looks.get(suite, "")
            )
            add(column, lambda row, m=metric, d=decimals: with_interval(row.measures[m].value, d))
        _add_comparison(report, suite, add)
    add(Column("run", "seeds", essential=True), _seeds)
    add(Column("run", "spikes"), lambda row: _spikes(row.measures[SPIKES].value))
    add(Column("run", "spike score %"), lambda row: percent(row.measures[SPIKE_SCORE].value, 2, interval=False))
    accuracy = Column("run", marked("downstream accuracy %", report.looks.get(DOWNSTREAM)))
    add(accuracy, lambda row: percent(row.measures[ACCURACY].value, 1))
    return Grid(tuple(columns), tuple(map(tuple, cells)), _notes(report))


def paper_columns(report: Report) -> tuple[str, ...]:
    """The paper's columns that hold values."""
    return tuple(name for name in report.paper.columns if name not in NAMING) if report.paper else ()


def paper_header(column: str) -> str:
    return PAPER_COLUMNS.get(column, column.replace("_", " "))


def _add_comparison(report: Report, suite: str, add: Callable[[Column, Callable], None]) -> None:
    metric = f"{suite}/mean/loss"

    add(
        Column(suite, f"Δ {title(suite)} loss", essential=True, look=report.looks.get(suite, "")),
        lambda row: difference_cell(row.measures[metric].difference, len(row.finished)),
    )
    add(Column(suite, "beyond noise", False, True), lambda row: yes_no(_beyond(row.measures[metric])))
    for column in compared(metric) if report.paper else ():
        header = f"sign as {PAPER_LOSS[column]}"
        add(Column(suite, header, False, True), lambda row, c=column: verdict(row.measures[metric].agrees[c]))


def difference_cell(found: Estimate | None, finished: int) -> Cell:
    """A difference of losses, which says so if fewer seeds are paired than have finished."""
    text = with_interval(found, 3, signed=True)
    if found and found.count < finished:
        text += f" ({found.count} of {finished} paired)"
    return Cell(text, interval=found)


def _beyond(measure: Measure) -> bool | None:
    return measure.difference.beyond_noise if measure.difference else None


def _label(report: Report, row: ReportRow) -> str:
    marks = INCOMPLETE if row.incomplete else ""
    if row.printed_in not in (None, report.sweep.table):
        marks += ELSEWHERE
    return f"{row.label} {marks}" if marks else row.label


def _printed(row: ReportRow, name: str) -> str:
    return as_printed(row.printed.get(name), name)


def _seeds(row: ReportRow) -> str:
    return f"{len(row.finished)} of {len(row.asked)}" if row.incomplete else str(len(row.finished))


def _spikes(value: Estimate | None) -> str:
    # A count is whole for one seed, and a mean over several.
    return NOTHING if value is None else fixed(value.mean, 0 if value.count == 1 else 1)


def percent(share: Estimate | None, decimals: int, signed: bool = False, interval: bool = True) -> str:
    """A share, or a difference of shares, times 100."""
    if share is None:
        return NOTHING
    half = 100 * share.half_width if interval and share.half_width is not None else None
    return with_interval(Estimate(100 * share.mean, half, None, share.count), decimals, signed)


def _notes(report: Report) -> tuple[str, ...]:
    notes = []
    if len(report.sweep.seeds) > 1:
        notes.append(
            "±: half width of the 95 % Student-t interval of the mean over seeds. Spikes and spike score: means "
            "over seeds."
        )
    notes.append(f"Δ: row minus {report.baseline.label}, paired by seed; below 0 the row is better.")
    if len(report.sweep.seeds) > 1:
        notes.append("Beyond noise: the interval of Δ excludes 0.")
    if report.paper and report.suites:
        notes.append("Sign as V2 loss, V3 loss: whether Δ has the sign of the paper's own difference in that column.")
    notes.append(f"{NOTHING}: not measured, not printed, or nothing to compare.")
    if any(row.incomplete for row in report.rows):
        notes.append(f"{INCOMPLETE} Fewer seeds than asked for: the row uses those that finished.")
    for row in report.rows:
        if row.printed_in not in (None, report.sweep.table):
            notes.append(
                f"{ELSEWHERE} Table {report.sweep.table} has no row {row.label}: the paper's columns show the one "
                f"of Table {row.printed_in}."
            )
    return tuple(notes)
