"""Tables of what runs were measured on: a line a set or task, columns for every run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from omegaconf import DictConfig
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hcexp.cli.budget import quick_look
from hcexp.evaluation.downstream.tasks import VOLATILE
from hcexp.run.scores import Evaluation

# Of the last part of a metric's name: what its column is called, its factor and its decimals.
MEASURES = {
    "accuracy": ("accuracy %", 100, 1),
    "loss": ("loss", 1, 3),
    "perplexity": ("perplexity", 1, 2),
    "bits_per_byte": ("bits/byte", 1, 3),
}
NOTHING = "–"
STAR = "*"


class Column(NamedTuple):
    """A run: what it is called, the configuration that it was measured with, and what was measured."""

    label: str
    config: DictConfig
    evaluations: Sequence[Evaluation]

    def metrics(self, name: str) -> dict[str, float]:
        """Those whose names begin with `name`."""
        metrics = {metric: value for evaluation in self.evaluations for metric, value in evaluation.metrics.items()}
        return {metric: value for metric, value in metrics.items() if metric.startswith(f"{name}/")}


def line(scores: Mapping[str, float]) -> str:
    """The scores of one set or task, without bits per byte where there is something better known."""
    known = {key: scores[key] for key in MEASURES if key in scores}
    if not known:  # full names, of the harness
        return "  ".join(f"{metric.split('/', 2)[2]} {value:.4f}" for metric, value in scores.items())
    shown = {key: value for key, value in known.items() if key != "bits_per_byte"} or known
    return "  ".join(f"{MEASURES[key][0]} {_cell(value, *MEASURES[key][1:])}" for key, value in shown.items())


def label(config: DictConfig) -> str:
    """A run in a few words."""
    n = config.residual.get("n")
    return f"{config.choices.residual}{f' n={n}' if n is not None else ''}, seed {config.seed}"


def show(columns: Sequence[Column], console: Console) -> None:
    """A table for every suite, one for the downstream tasks, one for those of the harness; the means come last.

    With several runs bits per byte are left out, to save room.
    """
    if not console.is_terminal:
        console = Console(file=console.file, width=1000)  # a file has no width that a table could exceed
    names = dict.fromkeys(evaluation.name.partition("/")[0] for column in columns for evaluation in column.evaluations)
    for name in names:
        console.print(_harness(columns) if name == "harness" else _table(name, columns))
        for look in _looks(name, columns):
            console.print(Text(f"  {look}", style="yellow"), soft_wrap=True)
        if name == "downstream" and any(column.metrics(f"{name}/{task}") for column in columns for task in VOLATILE):
            console.print(Text(f"  {STAR} volatile: not in the mean, as in Table 15"), soft_wrap=True)


def _looks(name: str, columns: Sequence[Column]) -> list[str]:
    """How much was read, unless all was; of each run if they differ."""
    looks = {column.label: quick_look(column.config, [name]) for column in columns}
    if len(set(looks.values())) == 1:
        return [look for look in looks.values() if look][:1]
    return [f"{name.splitlines()[-1]}: {look or 'all documents'}" for name, look in looks.items()]


def _table(name: str, columns: Sequence[Column]) -> Table:
    metrics = [column.metrics(name) for column in columns]
    keys = [key for key in MEASURES if any(metric.endswith(f"/{key}") for of in metrics for metric in of)]
    if len(columns) > 1:
        keys = [key for key in keys if key != "bits_per_byte"] or keys
    table = Table("set" if name != "downstream" else "task", title=name, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        for key in keys:
            head = f"{column.label}\n{MEASURES[key][0]}" if len(columns) > 1 else MEASURES[key][0]
            table.add_column(Text(head), justify="right")
    rows = dict.fromkeys(metric.split("/")[1] for of in metrics for metric in of)
    for row in sorted(rows, key=lambda row: row == "mean"):  # a sort keeps the order of the others
        star = f" {STAR}" if name == "downstream" and row in VOLATILE else ""
        cells = [_cell(of.get(f"{name}/{row}/{key}"), *MEASURES[key][1:]) for of in metrics for key in keys]
        table.add_row(Text(row + star), *cells, style="bold" if row == "mean" else None)
    return table


def _harness(columns: Sequence[Column]) -> Table:
    metrics = [column.metrics("harness") for column in columns]
    table = Table("task", "", title="lm-evaluation-harness", title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(Text(column.label), justify="right")
    for metric in dict.fromkeys(metric for of in metrics for metric in of):
        _, task, key = metric.split("/", 2)
        table.add_row(Text(task), Text(key), *(_cell(of.get(metric), 1, 4) for of in metrics))
    return table


def _cell(value: float | None, factor: float, decimals: int) -> str:
    return NOTHING if value is None else f"{factor * value:,.{decimals}f}"
