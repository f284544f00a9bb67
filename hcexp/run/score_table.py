"""What runs were measured on, in words and as tables: a line a set or task, columns for every run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from omegaconf import DictConfig

from hcexp.evaluation.downstream.tasks import VOLATILE
from hcexp.run.describe import quick_look
from hcexp.run.scores import Evaluation
from hcexp.tables.table import Column, Entry, Table, lay_out

# Of the last part of a metric's name: what its column is called, its factor and its decimals.
MEASURES = {
    "accuracy": ("accuracy %", 100, 1),
    "loss": ("loss", 1, 3),
    "perplexity": ("perplexity", 1, 2),
    "bits_per_byte": ("bits/byte", 1, 3),
}
HARNESS = "lm-evaluation-harness"
STAR = "*"


class Scored(NamedTuple):
    """A run: what it is called, the configuration that it was measured with, and what was measured."""

    label: str
    config: DictConfig
    evaluations: Sequence[Evaluation]

    @property
    def metrics(self) -> dict[str, float]:
        return {metric: value for evaluation in self.evaluations for metric, value in evaluation.metrics.items()}


def in_words(scores: Mapping[str, float]) -> str:
    """The scores of one set or task, without bits per byte where there is something better known."""
    known = {key: scores[key] for key in MEASURES if key in scores}
    if not known:  # full names, of the harness
        return "  ".join(f"{metric.split('/', 2)[2]} {value:.4f}" for metric, value in scores.items())
    shown = {key: value for key, value in known.items() if key != "bits_per_byte"} or known
    return "  ".join(f"{MEASURES[key][0]} {_written(value, *MEASURES[key][1:])}" for key, value in shown.items())


def score_tables(runs: Sequence[Scored]) -> list[Table]:
    """A table for every suite, one for the downstream tasks, one for those of the harness; the means come last.

    With several runs bits per byte are left out, to save room.
    """
    names = dict.fromkeys(one.name.partition("/")[0] for run in runs for one in run.evaluations)
    return [_harness(runs) if name == "harness" else _table(name, runs) for name in names]


def _table(name: str, runs: Sequence[Scored]) -> Table:
    found = dict.fromkeys(metric for run in runs for metric in run.metrics if metric.startswith(f"{name}/"))
    keys = [key for key in MEASURES if any(metric.endswith(f"/{key}") for metric in found)]
    if len(runs) > 1:
        keys = [key for key in keys if key != "bits_per_byte"] or keys
    tasks, rows = name == "downstream", dict.fromkeys(metric.split("/")[1] for metric in found)
    volatile = set(rows).intersection(VOLATILE) if tasks else set()
    entries: list[Entry] = [
        (Column("task" if tasks else "set", side="left"), lambda row: f"{row} {STAR}" if row in volatile else row)
    ]
    for run in runs:
        for key in keys:
            header = f"{run.label} {MEASURES[key][0]}" if len(runs) > 1 else MEASURES[key][0]
            entries.append((Column(header), lambda row, run=run, key=key: _cell(run, f"{name}/{row}/{key}", key)))
    notes = [*_looks(name, runs), *([f"{STAR} volatile: not in the mean, as in Table 15"] if volatile else [])]
    return lay_out(name, sorted(rows, key=lambda row: row == "mean"), entries, notes=tuple(notes))


def _harness(runs: Sequence[Scored]) -> Table:
    found = dict.fromkeys(metric for run in runs for metric in run.metrics if metric.startswith("harness/"))
    entries: list[Entry] = [
        (Column("task", side="left"), lambda metric: metric.split("/", 2)[1]),
        (Column("", side="left"), lambda metric: metric.split("/", 2)[2]),
        *((Column(run.label), lambda metric, run=run: _cell(run, metric)) for run in runs),
    ]
    return lay_out(HARNESS, found, entries, notes=tuple(_looks("harness", runs)))


def _looks(name: str, runs: Sequence[Scored]) -> list[str]:
    """How much was read, unless all was; of each run if they differ."""
    looks = {run.label: quick_look(run.config, [name]) for run in runs}
    if len(set(looks.values())) == 1:
        return [look for look in looks.values() if look][:1]
    return [f"{label}: {look or 'all documents'}" for label, look in looks.items()]


def _cell(run: Scored, metric: str, key: str = "") -> str | None:
    value = run.metrics.get(metric)
    return None if value is None else _written(value, *MEASURES[key][1:] if key else (1, 4))


def _written(value: float, factor: float, decimals: int) -> str:
    return f"{factor * value:,.{decimals}f}"
