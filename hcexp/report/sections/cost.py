"""The table of what the rows cost, with what the runs themselves say of their speed and memory."""

from collections.abc import Iterator

from hcexp.cost import tables
from hcexp.cost.rows import measuring
from hcexp.report.costs import Costs
from hcexp.report.numbers import with_interval
from hcexp.report.results import Results
from hcexp.tables.table import Column, Entry, Table

RUNS = "The runs themselves, not interleaved"


def cost_table(results: Results, costs: Costs, scale: str) -> Table:
    """A line a row, ratios over the baseline's."""
    return tables.cost_table(costs.rows, _runs(), _notes(results, costs, scale))


def _runs() -> Iterator[Entry]:
    for header, of in (
        ("run's tokens/s, ratio", lambda row: row.speed),
        ("run's peak memory, ratio", lambda row: row.memory),
    ):
        yield Column(header, RUNS), lambda row, of=of: None if row.is_baseline else with_interval(of(row), 2)


def _notes(results: Results, costs: Costs, scale: str) -> Iterator[str]:
    yield (
        f"Tokens/s and peak memory of the runs are over those of {results.baseline} under the same seed. The runs "
        "were not interleaved: what else the machine did is in these ratios. On a CPU the peak is that of the process."
    )
    if not any(row.measured for row in costs.rows):
        command = measuring(results.sweep, scale)
        yield f"Interleaved training steps are measured with: {command} (and the overrides of this sweep)."
    yield from costs.remarks
