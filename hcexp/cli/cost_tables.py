"""A table of costs, in the terminal and as CSV."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hcexp.configuration import compose
from hcexp.cost import of_hardware
from hcexp.disk.atomic import atomic_write
from hcexp.paper import printed
from hcexp.report.measured import COLUMNS, Measured
from hcexp.report.numbers import NOTHING, fixed, more, unit
from hcexp.report.predicted import Predicted


@dataclass(frozen=True)
class Line:
    """One row of the table; `config` its configuration, `measured` None where nothing was, `taken` the columns of what
    it takes on a cluster.
    """

    label: str
    config: Any
    predicted: Predicted
    is_baseline: bool
    measured: Measured | None = None
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


Columns = Sequence[tuple[str, Callable[[Any], str]]]


def show_predicted(lines: Sequence[Line], console: Console) -> None:
    """Parameters, operations a token, and activation memory by the paper's formula: a table each."""
    base = lines[0].predicted
    over = f"more than {lines[0].label}"
    show(f"parameters, model={lines[0].config.choices.model}", lines, _parameters(base, over), console)
    name, worth = unit(base.flops.forward)
    show(f"{name}FLOPs a token", lines, _flops(lines, worth), console)
    trained = {f"{line.predicted.flops.training / line.predicted.flops.forward:.4f}" for line in lines}
    say(
        "A multiply-add is 2. Counted are matrix products, the unembedding's too, and every product of hidden vectors "
        "that a residual mode's code makes; not sums, norms and activation functions, nor attention scores: "
        f"{fixed(base.attention / worth, 4)} {name} forward at this length, half of it behind the mask. Training, "
        f"forward and backward, is {' to '.join(sorted({min(trained), max(trained)}))} times the forward pass.",
        console,
    )
    if any(line.paper for line in lines):
        say("Paper: Table 8, which counts less for the dynamic projection than its formula needs.", console)
    show("activations by formula", lines, _activations(base), console)
    say(
        f"For {base.micro_batch} sequences of {base.sequence_length} tokens, by Appendix B: sbdL(34 + 5as/d), and "
        "2nsbdL with n streams (nsbd a segment where they are recomputed). The formula has 16 bits, attention scores "
        "kept and nothing recomputed; no weights, gradients or optimizer states. Beyond plain streams it covers "
        "hyper-connections alone.",
        console,
    )


def show_measured(lines: Sequence[Line], console: Console) -> None:
    """Step time, speed and peak memory."""
    first, over = lines[0].measured, f"over {lines[0].label}"
    name, worth = unit(first.peak_bytes)
    columns = [
        ("ms", lambda line: f"{1000 * line.measured.seconds:,.1f}"),
        (over, _beyond(lambda line: f"{line.measured.step:.3f}")),
        ("quartiles", _beyond(lambda line: f"{line.measured.step_low:.3f}–{line.measured.step_high:.3f}")),
        ("tokens/s", lambda line: f"{line.measured.tokens_per_second:,.0f}"),
        (f"peak {name}B", lambda line: f"{line.measured.peak_bytes / worth:,.2f}"),
        (over, _beyond(lambda line: f"{line.measured.peak:.3f}")),
    ]
    if lines[0].utilisation:
        columns.append(("utilisation", lambda line: f"{line.utilisation:.3f}"))
    show(f"training step, {first.compiled}, on {first.device}", lines, columns, console)
    say(
        f"Median of {first.rounds} rounds, all rows in turn. A step: forward, loss and backward of one micro-batch, "
        "clipping, optimiser. Peak memory: of tensors, that of one model with its gradients and optimizer states, by "
        f"{first.peak_by}."
        + (" Utilisation: operations, attention scores too, over the GPU's peak." if lines[0].utilisation else ""),
        console,
    )


def write_csv(lines: Sequence[Line], path: Path) -> None:
    """The table unrounded, a line a row; an empty cell for what there is not. The folder is made if need be."""
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


def _parameters(base: Predicted, over: str) -> Columns:
    total = base.parameters.total
    return [
        ("", lambda line: f"{line.predicted.parameters.total:,}"),
        ("of the residual mode", lambda line: f"{line.predicted.parameters.residual:,}"),
        ("frozen", lambda line: f"{line.predicted.parameters.frozen:,}"),
        (over, _beyond(lambda line: fixed(line.predicted.parameters.total - total, 0, signed=True))),
        ("%", _beyond(lambda line: more(line.predicted.parameters.total, total, 5))),
    ]


def _flops(lines: Sequence[Line], worth: float) -> Columns:
    base = lines[0].predicted.flops
    columns = [
        ("forward", lambda line: fixed(line.predicted.flops.forward / worth, 4)),
        ("of the mode", lambda line: fixed(line.predicted.flops.residual / worth, 4)),
        ("more %", _beyond(lambda line: more(line.predicted.flops.forward, base.forward, 3))),
        ("training", lambda line: fixed(line.predicted.flops.training / worth, 4)),
    ]
    if any(line.paper for line in lines):
        columns += [
            ("paper forward", lambda line: _printed(line, "total_gflops", 4)),
            ("of the mode", lambda line: _printed(line, "hc_gflops", 4)),
            ("more %", lambda line: _printed(line, "delta_percent", 3)),
        ]
    return columns


def _activations(base: Predicted) -> Columns:
    name, worth = unit(base.activations)
    return [
        (f"{name}B", _by_formula(lambda line: fixed(line.predicted.activations / worth, 3))),
        ("more %", _by_formula(_beyond(lambda line: more(line.predicted.activations, base.activations, 2)))),
    ]


def _by_formula(cell: Callable[[Line], str]) -> Callable[[Line], str]:
    """What the formula says; nothing of a mode that it would take for the plain stream, the baseline aside."""
    return lambda line: cell(line) if line.is_baseline or line.predicted.by_formula else NOTHING


def _beyond(cell: Callable[[Line], str]) -> Callable[[Line], str]:
    """What is said over the baseline; of the baseline itself nothing."""
    return lambda line: NOTHING if line.is_baseline else cell(line)


def _printed(line: Line, column: str, decimals: int) -> str:
    value = line.paper.get(column)
    return NOTHING if value is None else fixed(value, decimals)


def show(title: str, lines: Sequence[Any], columns: Columns, console: Console) -> None:
    """A table of `lines`, which have a `label`."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge, table.pad_edge, table.collapse_padding = False, False, True
    # Headers wrap between words, labels and numbers never: a narrow terminal gets longer lines, not half a number.
    rows = [[line.label, *(cell(line) for _, cell in columns)] for line in lines]
    widths = [max(map(cell_len, texts)) for texts in zip(*rows, strict=True)]
    table.add_column("", no_wrap=True, min_width=widths[0])
    for (header, _), width in zip(columns, widths[1:], strict=True):
        width = max([width, *map(cell_len, header.split())])
        table.add_column(header, justify="right", vertical="bottom", min_width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table, crop=False)


def say(sentence: str, console: Console) -> None:
    """A note below a table."""
    console.print(Text(sentence, style="dim"))
