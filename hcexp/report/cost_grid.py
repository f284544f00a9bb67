"""The table of costs as text cells, laid out once for every format."""

import shlex
from collections.abc import Callable, Iterator

from hcexp.report.contents import Report
from hcexp.report.costs import Costs, RowCost
from hcexp.report.grid import Cell, Column, Grid
from hcexp.report.numbers import NOTHING, fixed, more, unit, with_interval
from hcexp.report.predicted import Predicted

GROUPS = {
    "counted": "Counted",
    "formula": "By formula",
    "runs": "The runs themselves, not interleaved",
    "steps": "Training steps, interleaved",
}

Entry = tuple[Column, Callable[[RowCost], str | None]]


def cost_grid(report: Report) -> Grid:
    """A line a row, ratios over the baseline's."""
    costs = report.costs
    entries = [(Column("", "row", numeric=False), lambda row: row.label), *_predicted(costs), *_runs(), *_steps(costs)]
    rows = tuple(tuple(Cell(of(row) or NOTHING) for _, of in entries) for row in costs.rows)
    return Grid(tuple(column for column, _ in entries), rows, tuple(_notes(report)))


def _predicted(costs: Costs) -> Iterator[Entry]:
    known = [row.predicted for row in costs.rows if row.predicted]
    if not known:
        return
    base = costs.baseline.predicted
    (flops, flop), (size, byte) = unit(known[0].flops.forward), unit(known[0].activations)

    def entry(group: str, header: str, of: Callable[[Predicted], str | None]) -> Entry:
        return Column(group, header), lambda row: row.predicted and of(row.predicted)

    def percent(group: str, value: Callable[[Predicted], float], decimals: int) -> Entry:
        def over(row: RowCost) -> str | None:
            compared = row.predicted and base and not row.is_baseline
            return more(value(row.predicted), value(base), decimals) if compared else None

        return Column(group, "more %"), over

    yield entry("counted", "parameters", lambda p: f"{p.parameters.total:,}")
    yield percent("counted", lambda p: p.parameters.total, 5)
    yield entry("counted", f"forward {flops}FLOPs a token", lambda p: fixed(p.flops.forward / flop, 4))
    yield percent("counted", lambda p: p.flops.forward, 3)
    for column, of in (
        entry("formula", f"activations {size}B", lambda p: fixed(p.activations / byte, 3)),
        percent("formula", lambda p: p.activations, 2),
    ):
        yield column, lambda row, of=of: of(row) if _by_formula(row) else None


def _by_formula(row: RowCost) -> bool:
    """Whether the formula says anything of the row: what it takes for the plain stream is only compared against."""
    return bool(row.predicted and (row.is_baseline or row.predicted.by_formula))


def _runs() -> Iterator[Entry]:
    for header, of in (
        ("run's tokens/s, ratio", lambda row: row.speed),
        ("run's peak memory, ratio", lambda row: row.memory),
    ):
        yield Column("runs", header), lambda row, of=of: None if row.is_baseline else with_interval(of(row), 2)


def _steps(costs: Costs) -> Iterator[Entry]:
    if not any(row.measured for row in costs.rows):
        return

    def entry(header: str, of: Callable) -> Entry:
        return Column("steps", header), lambda row: row.measured and not row.is_baseline and of(row.measured)

    yield entry("step time, ratio", lambda m: fixed(m.step, 3))
    yield entry("quartiles", lambda m: f"{fixed(m.step_low, 3)} to {fixed(m.step_high, 3)}")
    yield entry("step's peak memory, ratio", lambda m: fixed(m.peak, 3))


def measuring(report: Report) -> str:
    """The command that measures the rows' training steps for this report."""
    return shlex.join(["hcexp", "cost", "--sweep", report.sweep.name, f"scale={report.scale}", "measure=true"])


def _notes(report: Report) -> Iterator[str]:
    costs = report.costs
    known = next((row.predicted for row in costs.rows if row.predicted), None)
    if known:
        yield (
            "FLOPs: a multiply-add is 2; matrix products, the unembedding's too, and every product of hidden vectors "
            "that the residual mode's code makes; without attention scores, norms, sums and activation functions."
        )
        yield (
            "Activations: sbdL(34 + 5as/d), and 2nsbdL with n streams (the paper's Appendix B), of "
            f"{known.micro_batch} sequences of {known.sequence_length} tokens. The formula has 16 bits, attention "
            "scores kept and nothing recomputed; no weights, gradients or optimizer states. Beyond plain streams "
            "it covers hyper-connections alone."
        )
    yield (
        f"Tokens/s and peak memory of the runs are over those of {costs.baseline.label} under the same seed. The runs "
        "were not interleaved: what else the machine did is in these ratios. On a CPU the peak is that of the process."
    )
    measured = next((row.measured for row in costs.rows if row.measured), None)
    if measured:
        yield (
            f"Interleaved: {measured.compiled}, on {measured.device}, median and quartiles of {measured.rounds} "
            f"rounds; peak memory of tensors, by {measured.peak_by}. Measured with: {measured.command}"
        )
    else:
        yield f"Interleaved training steps are measured with: {measuring(report)} (and the overrides of this sweep)."
    yield from costs.remarks
