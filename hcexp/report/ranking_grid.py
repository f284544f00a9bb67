"""The order of the rows as text cells, laid out once for every format."""

from collections.abc import Iterator

from hcexp.report.contents import Report
from hcexp.report.grid import Cell, Column, Grid
from hcexp.report.looks import marked
from hcexp.report.numbers import NOTHING, count, probability, with_interval, yes_no
from hcexp.report.ranking import Ranking
from hcexp.report.suites import loss_name

GROUPS = {"rank": "Rank", "next": "Against the next row"}


def ranking_title(report: Report, ranking: Ranking) -> str:
    """`Ranking by V3 loss`, with the mark of what was not read whole."""
    return marked(f"Ranking by {loss_name(ranking.metric)}", report.looks.get(ranking.metric.split("/")[0]))


def ranking_grid(report: Report, ranking: Ranking) -> Grid:
    """A line a row, the best first, with what separates it from the next."""
    columns = (
        Column("", "row", numeric=False),
        Column("rank", "place"),
        Column("rank", "loss"),
        Column("rank", "Δ"),
        Column("next", "next is behind by"),
        Column("next", "p"),
        Column("next", "p, Holm"),
        Column("next", "told apart", numeric=False),
    )
    rows = tuple(
        (
            Cell(row.label),
            Cell(str(place)),
            Cell(with_interval(row.value, 3)),
            Cell(with_interval(row.difference, 3, signed=True), interval=row.difference),
            Cell(with_interval(row.behind, 3, signed=True)),
            Cell(probability(row.p)),
            Cell(probability(row.corrected)),
            Cell(yes_no(row.separated)),
        )
        for place, row in enumerate(ranking.rows, start=1)
    )
    return Grid(columns, rows, tuple(_notes(report, ranking)))


def _notes(report: Report, ranking: Ranking) -> Iterator[str]:
    yield (
        f"Δ: row minus {report.baseline.label}, paired by seed, which makes the order. "
        "Next is behind by: the mean difference of the next row, paired by seed, with its own 95 % Student-t interval. "
        f"p: of the paired t-test; Holm: corrected for the {count(ranking.tested, 'pair')} of neighbours tested. Told "
        "apart: corrected p below 0.05. Who neighbours whom was chosen by these very numbers, which no correction "
        f"takes into account. {NOTHING}: no test, for want of two seeds under both rows."
    )
