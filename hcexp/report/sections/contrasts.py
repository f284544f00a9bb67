"""The table of what the sweep set out to compare."""

from hcexp.report.contrasts import contrasts
from hcexp.report.looks import marked
from hcexp.report.numbers import difference, probability, yes_no
from hcexp.report.results import Results
from hcexp.report.suites import loss_name
from hcexp.tables.format import NOTHING, count
from hcexp.tables.table import Column, Table, lay_out

ENTRIES = (
    (Column("row", side="left"), lambda one: one.row),
    (Column("against", side="left"), lambda one: one.against),
    (Column("difference"), lambda one: difference(one.difference, 0)),
    (Column("p"), lambda one: probability(one.p)),
    (Column("p, Holm"), lambda one: probability(one.corrected)),
    (Column("told apart", side="center"), lambda one: yes_no(one.told_apart)),
)


def contrast_table(results: Results, metric: str) -> Table | None:
    """A line for every comparison that the sweep planned; None where nothing could be tested."""
    found = contrasts(results, metric)
    tested = sum(one.p is not None for one in found)
    if not tested:
        return None
    note = (
        "Difference: row minus the other, paired by seed, with its own 95 % Student-t interval; below 0 the row is "
        f"better. p: of the paired t-test. Holm: corrected for the {count(tested, 'comparison')} of this table, which "
        "are those that the sweep's file names and every row against the baseline. Told apart: corrected p below "
        f"0.05. {NOTHING}: no test, for want of two seeds under both rows."
    )
    title = f"Planned comparisons by {loss_name(metric)}"
    return lay_out(marked(title, results.looks.get(metric.split("/")[0])), found, ENTRIES, notes=(note,))
