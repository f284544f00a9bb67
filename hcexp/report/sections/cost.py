"""The table of what the rows cost."""

import shlex
from collections.abc import Callable, Iterator

from hcexp.report.costs import Costs, RowCost
from hcexp.report.numbers import more, unit, with_interval
from hcexp.report.predicted import Predicted
from hcexp.report.results import Results
from hcexp.tables.format import fixed
from hcexp.tables.table import Column, Entry, Table, lay_out

COUNTED, FORMULA = "Counted", "By formula"
RUNS, STEPS = "The runs themselves, not interleaved", "Training steps, interleaved"


def cost_table(results: Results, costs: Costs, scale: str) -> Table:
    """A line a row, ratios over the baseline's."""
    entries = [(Column("row", side="left"), lambda row: row.label), *_predicted(costs), *_runs(), *_steps(costs)]
    notes = tuple(_notes(results, costs, scale))
    return lay_out("", costs.rows, entries, notes=notes, strong=results.labels.index(results.baseline))


def _predicted(costs: Costs) -> Iterator[Entry]:
    known = [row.predicted for row in costs.rows if row.predicted]
    if not known:
        return
    base = costs.baseline.predicted
    (flops, flop), (size, byte) = unit(known[0].flops.forward), unit(known[0].activations)

    def entry(group: str, header: str, of: Callable[[Predicted], str | None]) -> Entry:
        return Column(header, group), lambda row: row.predicted and of(row.predicted)

    def percent(group: str, value: Callable[[Predicted], float], decimals: int) -> Entry:
        def over(row: RowCost) -> str | None:
            compared = row.predicted and base and not row.is_baseline
            return more(value(row.predicted), value(base), decimals) if compared else None

        return Column("more %", group), over

    yield entry(COUNTED, "parameters", lambda p: f"{p.parameters.total:,}")
    yield percent(COUNTED, lambda p: p.parameters.total, 5)
    yield entry(COUNTED, f"forward {flops}FLOPs a token", lambda p: fixed(p.flops.forward / flop, 4))
    yield percent(COUNTED, lambda p: p.flops.forward, 3)
    for column, of in (
        entry(FORMULA, f"activations {size}B", lambda p: fixed(p.activations / byte, 3)),
        percent(FORMULA, lambda p: p.activations, 2),
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
        yield Column(header, RUNS), lambda row, of=of: None if row.is_baseline else with_interval(of(row), 2)


def _steps(costs: Costs) -> Iterator[Entry]:
    if not any(row.measured for row in costs.rows):
        return

    def entry(header: str, of: Callable) -> Entry:
        return Column(header, STEPS), lambda row: row.measured and not row.is_baseline and of(row.measured)

    yield entry("step time, ratio", lambda m: fixed(m.step, 3))
    yield entry("quartiles", lambda m: f"{fixed(m.step_low, 3)} to {fixed(m.step_high, 3)}")
    yield entry("step's peak memory, ratio", lambda m: fixed(m.peak, 3))


def measuring(results: Results, scale: str) -> str:
    """The command that measures the rows' training steps for this report."""
    return shlex.join(["hcexp", "cost", "--sweep", results.sweep.name, f"scale={scale}", "measure=true"])


def _notes(results: Results, costs: Costs, scale: str) -> Iterator[str]:
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
        f"Tokens/s and peak memory of the runs are over those of {results.baseline} under the same seed. The runs "
        "were not interleaved: what else the machine did is in these ratios. On a CPU the peak is that of the process."
    )
    measured = next((row.measured for row in costs.rows if row.measured), None)
    if measured:
        yield (
            f"Interleaved: {measured.compiled}, on {measured.device}, median and quartiles of {measured.rounds} "
            f"rounds; peak memory of tensors, by {measured.peak_by}. Measured with: {measured.command}"
        )
    else:
        command = measuring(results, scale)
        yield f"Interleaved training steps are measured with: {command} (and the overrides of this sweep)."
    yield from costs.remarks
