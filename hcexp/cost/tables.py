"""Every table of costs, for the terminal and the report alike, and the file of their numbers."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hcexp.configuration import compose
from hcexp.cost.benchmark import COLUMNS, StepTiming
from hcexp.cost.devices import of_hardware
from hcexp.cost.estimate import CostEstimate, estimate_cost
from hcexp.cost.rows import Row
from hcexp.disk.atomic import atomic_write
from hcexp.paper import printed
from hcexp.tables.format import fixed, more, unit
from hcexp.tables.table import Column, Entry, Table, lay_out

LABEL: Entry = (Column("", side="left"), lambda row: row.label)


@dataclass(frozen=True)
class Line:
    """A row of `hcexp cost`; `measured` None where nothing was, `taken` the columns of what it takes on a cluster."""

    label: str
    config: Any
    predicted: CostEstimate
    is_baseline: bool
    measured: StepTiming | None = None
    taken: dict[str, Any] = field(default_factory=dict)

    @property
    def utilisation(self) -> float | None:
        """What the measured step did of its GPU's peak, attention scores included; None if that is not known."""
        found = of_hardware(self.measured.device) if self.measured else None
        flops = self.predicted.flops.training + 3 * self.predicted.attention
        return flops * self.measured.tokens_per_second / found.flops if found else None

    @cached_property
    def paper(self) -> dict[str, Any]:
        """What Table 8 prints for this model; {} if it has no such row.

        The row is found by its label, and is the same model if Table 7 gives that label as many parameters and no
        knob of the mode but n was turned.
        """
        mode, n = self.config.choices.residual, self.config.residual.get("n")
        size = f"OLMo-{self.config.choices.model.upper()}"
        for label in (size,) if self.predicted.plain else (f"{size}-{mode.upper()}×{n}", f"{mode.upper()}×{n}"):
            counted, row = printed(7, label), printed(8, label)
            if counted and row and counted.row["total_exact"] == self.predicted.parameters.total:
                knobs = [] if n is None else [f"residual.n={n}"]
                if self.config.residual == compose([f"residual={mode}", *knobs]).residual:
                    return row.row
        return {}


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """What the rows cost by count and formula; the first is the baseline. Raises what `estimate_cost` raises."""
    return [Line(row.label, row.config, estimate_cost(row.config), row is rows[0]) for row in rows]


def counted_tables(lines: Sequence[Line]) -> list[Table]:
    """Parameters, operations a token, and activation memory by the paper's formula: a table each, for a terminal."""
    tables, base = _Tables(lines, full=True), lines[0].predicted
    (name, worth), notes = unit(base.flops.forward), []
    ratios = sorted({f"{line.predicted.flops.training / line.predicted.flops.forward:.4f}" for line in lines})
    times = " to ".join(dict.fromkeys((ratios[0], ratios[-1])))
    notes.append(
        f"{tables.flops_note} Attention scores: {fixed(base.attention / worth, 4)} {name} forward at this length, half "
        f"of it behind the mask. Training, forward and backward, is {times} times the forward pass."
    )
    if any(line.paper for line in lines):
        notes.append("Paper: Table 8, which counts less for the dynamic projection than its formula needs.")
    return [
        tables.make(f"parameters, model={lines[0].config.choices.model}", tables.parameters()),
        tables.make(f"{name}FLOPs a token", tables.operations(), *notes),
        tables.make("activations by formula", tables.activations(), tables.activations_note),
    ]


def measured_tables(lines: Sequence[Line]) -> list[Table]:
    """Step time, speed and peak memory, for a terminal: a table of the eager steps, one of the compiled ones."""
    made, start = [], lines[0]
    for way in dict.fromkeys(line.measured.compiled for line in lines):
        same = [line for line in lines if line.measured.compiled == way]
        tables = _Tables(same, full=True)
        entries, notes = list(tables.steps()), [tables.steps_note]
        if same[0] is not start:
            over = Column(f"over {start.measured.compiled} {start.label}")
            entries.append((over, lambda line: fixed(line.measured.over_first, 3)))
        if same[0].utilisation:
            entries.append((Column("utilisation"), lambda line: fixed(line.utilisation, 3)))
            notes.append("Utilisation: operations, attention scores too, over the GPU's peak.")
        made.append(tables.make(f"training step, {way}, on {start.measured.device}", entries, *notes))
    return made


def cost_table(rows: Sequence[Any], runs: Iterable[Entry] = (), notes: Iterable[str] = ()) -> Table:
    """All that is known of the rows of a sweep in one table, ratios over the baseline's; for a report.

    Args:
        rows: in the sweep's order, each with `label`, `is_baseline`, and `predicted` and `measured` as a `Line` has
            them, None for what nobody counted or measured.
        runs: the columns of what the runs themselves say.
        notes: on these, and on what is missing.
    """
    tables = _Tables(rows, full=False)
    entries, said = [(replace(LABEL[0], header="row"), LABEL[1])], []
    if tables.known:
        entries += [*tables.parameters(), *tables.operations(), *tables.activations()]
        said += [tables.flops_note, tables.activations_note]
    entries += runs
    if tables.timed:
        entries += tables.steps()
        said.append(f"{tables.steps_note} Measured with: {tables.timed.command}")
    strong = next((place for place, row in enumerate(rows) if row.is_baseline), None)
    return lay_out("", rows, entries, notes=(*said, *notes), strong=strong)


class _Tables:
    """The columns of tables of costs and what is said of them; `full` has the columns that a report leaves out."""

    flops_note = (
        "FLOPs: a multiply-add is 2; matrix products, the unembedding's too, and every product of hidden vectors that "
        "the residual mode's code makes; without attention scores, norms, sums and activation functions."
    )

    def __init__(self, rows: Sequence[Any], *, full: bool):
        self.rows, self.full = rows, full
        self.base = next((row.predicted for row in rows if row.is_baseline), None)
        self.known = next((row.predicted for row in rows if row.predicted), None)
        self.timed = next((row.measured for row in rows if row.measured), None)

    def make(self, title: str, entries: Iterable[Entry], *notes: str) -> Table:
        """A table of its own, whose title says what its columns are of."""
        short = ((replace(column, header=column.short or column.header), of) for column, of in entries)
        return lay_out(title, self.rows, [LABEL, *short], notes=notes)

    def parameters(self) -> Iterator[Entry]:
        yield self._counted("parameters", lambda p: f"{p.parameters.total:,}")
        if self.full:
            yield self._counted("of the residual mode", lambda p: f"{p.parameters.residual:,}")
            yield self._counted("frozen", lambda p: f"{p.parameters.frozen:,}")
            over = lambda p: fixed(p.parameters.total - self.base.parameters.total, 0, signed=True)  # noqa: E731
            yield _beyond(self._counted(f"more than {self.rows[0].label}", over))
        yield self._more(lambda p: p.parameters.total, 5)

    def operations(self) -> Iterator[Entry]:
        name, worth = unit(self.known.flops.forward)
        number = lambda of: lambda p: fixed(of(p) / worth, 4)  # noqa: E731
        yield self._counted(f"forward {name}FLOPs a token", number(lambda p: p.flops.forward), short="forward")
        if self.full:
            yield self._counted("of the mode", number(lambda p: p.flops.residual))
        yield self._more(lambda p: p.flops.forward, 3)
        if self.full:
            yield self._counted("training", number(lambda p: p.flops.training))
            if any(row.paper for row in self.rows):
                yield _printed("paper forward", "total_gflops", 4)
                yield _printed("of the mode", "hc_gflops", 4)
                yield _printed("more %", "delta_percent", 3)

    def activations(self) -> Iterator[Entry]:
        """Of a mode that the formula would take for the plain stream nothing, the baseline aside."""
        name, worth = unit(self.known.activations)
        for column, of in (
            self._counted(f"activations {name}B", lambda p: fixed(p.activations / worth, 3), short=f"{name}B"),
            self._more(lambda p: p.activations, 2),
        ):
            told = lambda row, of=of: row.predicted and (row.is_baseline or row.predicted.by_formula) and of(row)  # noqa: E731
            yield replace(column, group="By formula"), told

    def steps(self) -> Iterator[Entry]:
        name, worth = unit(self.timed.peak_bytes)
        if self.full:
            yield _timed("ms", lambda m: f"{1000 * m.seconds:,.1f}")
        yield _beyond(_timed("step time, ratio", lambda m: fixed(m.step, 3)))
        yield _beyond(_timed("quartiles", lambda m: f"{fixed(m.step_low, 3)} to {fixed(m.step_high, 3)}"))
        if self.full:
            yield _timed("tokens/s", lambda m: f"{m.tokens_per_second:,.0f}")
            yield _timed(f"peak {name}B", lambda m: f"{m.peak_bytes / worth:,.2f}")
        yield _beyond(_timed("step's peak memory, ratio", lambda m: fixed(m.peak, 3)))

    @property
    def activations_note(self) -> str:
        return (
            f"Activations: for {self.known.micro_batch} sequences of {self.known.sequence_length} tokens, by the "
            "paper's Appendix B: sbdL(34 + 5as/d), and 2nsbdL with n streams (nsbd a segment where they are "
            "recomputed). The formula has 16 bits, attention scores kept and nothing recomputed; no weights, gradients "
            "or optimizer states. Beyond plain streams it covers hyper-connections alone."
        )

    @property
    def steps_note(self) -> str:
        return (
            f"Interleaved: {self.timed.compiled}, on {self.timed.device}, median and quartiles of {self.timed.rounds} "
            "rounds, all rows in turn. A step: forward, loss and backward of one micro-batch, clipping, optimiser. "
            "Peak memory: of tensors, that of one model with its gradients and optimizer states, by "
            f"{self.timed.peak_by}."
        )

    def _counted(self, header: str, of: Callable[[CostEstimate], str], short: str = "") -> Entry:
        return Column(header, "Counted", short=short), lambda row: row.predicted and of(row.predicted)

    def _more(self, value: Callable[[CostEstimate], float], decimals: int) -> Entry:
        over = lambda p: self.base and more(value(p), value(self.base), decimals)  # noqa: E731
        return _beyond(self._counted("more %", over))


def _beyond(entry: Entry) -> Entry:
    """What is said over the baseline; of the baseline itself nothing."""
    column, of = entry
    return column, lambda row: None if row.is_baseline else of(row)


def _printed(header: str, name: str, decimals: int) -> Entry:
    return Column(header, printed=True), lambda row: row.paper.get(name) and fixed(row.paper[name], decimals)


def _timed(header: str, of: Callable[[StepTiming], str]) -> Entry:
    return Column(header, "Training steps, interleaved"), lambda row: row.measured and of(row.measured)


def write_csv(lines: Sequence[Line], path: Path) -> None:
    """The numbers unrounded, a line a row; an empty cell for what there is not. The folder is made if need be."""
    records = [_record(line) for line in lines]
    with atomic_write(path) as file:
        out = csv.DictWriter(file, fieldnames=list(records[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(records)


def _record(line: Line) -> dict[str, Any]:
    predicted, paper = line.predicted, line.paper
    measured = asdict(line.measured) if line.measured else {}
    return {
        "row": line.label,
        "parameters": predicted.parameters.total,
        "parameters of the residual mode": predicted.parameters.residual,
        "frozen parameters": predicted.parameters.frozen,
        "forward FLOPs per token": predicted.flops.forward,
        "FLOPs per token of the residual mode": predicted.flops.residual,
        "training FLOPs per token": predicted.flops.training,
        "attention FLOPs per token left out": predicted.attention,
        "paper forward GFLOPs per token": paper.get("total_gflops"),
        "paper GFLOPs per token of the residual mode": paper.get("hc_gflops"),
        "activation bytes by formula": predicted.activations if line.is_baseline or predicted.by_formula else "",
        "sequence length": predicted.sequence_length,
        "micro-batch": predicted.micro_batch,
        **line.taken,
        **{column: measured[name] for name, column in COLUMNS.items() if name in measured},
    }
