"""The tables of sets and tasks as text cells, laid out once for every format."""

from collections.abc import Iterator

from hcexp.evaluation.downstream.tasks import VOLATILE
from hcexp.report.contents import Report
from hcexp.report.grid import Cell, Column, Grid, percent
from hcexp.report.looks import marked
from hcexp.report.numbers import NOTHING, fixed, with_interval
from hcexp.report.parts import MEAN, Part, Parts, comparable
from hcexp.report.suites import DOWNSTREAM, MEASURES, TASK_MEASURES, title

SHARE = "accuracy"
STAR = "*"


def parts_title(report: Report, parts: Parts) -> str:
    """`V3 loss of each set, beside Table 18 of the paper (first 200 documents a set)`."""
    header, _ = _measure(parts)
    one = "task" if parts.benchmark == DOWNSTREAM else "set"
    beside = f", beside Table {parts.paper.number} of the paper" if parts.paper else ""
    return marked(f"{title(parts.benchmark)} {header} of each {one}{beside}", report.looks.get(parts.benchmark))


def parts_grid(report: Report, parts: Parts) -> Grid:
    """A line a row; for every set or task what the paper prints, what was measured, and the difference."""
    header, decimals = _measure(parts)
    columns = [Column("", "row", numeric=False)]
    cells = [[Cell(row.label)] for row in report.rows]
    for name in parts.names:
        group = f"{name} {STAR}" if parts.benchmark == DOWNSTREAM and name in VOLATILE else name
        printed = parts.paper is not None and name in parts.paper.columns
        columns += [Column(group, f"{group} paper", short="paper", printed=True)] if printed else []
        columns += [Column(group, group, short=header), Column(group, f"Δ {group}", short="Δ")]
        for row, line in zip(report.rows, cells, strict=True):
            part = parts.rows[row.label][name]
            line += [Cell(_printed(part, parts))] if printed else []
            line += [Cell(text) for text in _measured(part, parts, decimals)]
    return Grid(tuple(columns), tuple(map(tuple, cells)), tuple(_notes(report, parts)))


def _measure(parts: Parts) -> tuple[str, int]:
    return (TASK_MEASURES if parts.benchmark == DOWNSTREAM else MEASURES)[parts.measure]


def _printed(part: Part, parts: Parts) -> str:
    return NOTHING if part.printed is None else fixed(part.printed, 1 if parts.measure == SHARE else 3)


def _measured(part: Part, parts: Parts, decimals: int) -> tuple[str, str]:
    write = percent if parts.measure == SHARE else with_interval
    return write(part.value, decimals), write(part.difference, decimals, signed=True)


def _notes(report: Report, parts: Parts) -> Iterator[str]:
    several, better = len(report.sweep.seeds) > 1, "above" if parts.measure == SHARE else "below"
    unit = ", in percentage points" if parts.measure == SHARE else ""
    yield f"Δ: row minus {report.baseline.label}, paired by seed{unit}; {better} 0 the row is better."
    if several:
        yield (
            "±: half width of the 95 % Student-t interval over seeds. Where there is in truth no difference, one "
            "interval of Δ in twenty excludes 0 too, and here are many."
        )
    if parts.benchmark == DOWNSTREAM and VOLATILE & set(parts.names):
        yield f"{STAR} Volatile: not in the mean, as in Table 15."
    if parts.paper:
        yield from _paper_notes(parts)


def _paper_notes(parts: Parts) -> Iterator[str]:
    number = parts.paper.number
    yield f"Paper: Table {number}, OLMo-1B trained on 500B tokens. Compare signs and order, not values."
    measured = [{name for name, part in row.items() if part.value} for row in parts.rows.values()]
    if MEAN in parts.names and not all(comparable(names, parts.paper) for names in measured if names):
        yield f"The paper's mean is left out of rows that were measured on other sets or tasks than Table {number}'s."
    exchanged = [erratum for erratum in parts.errata if erratum.row is None]
    if exchanged:
        yield f"The rows of Table {number} stand under their right labels, not under the printed ones."
    yield from map(str, parts.errata)
