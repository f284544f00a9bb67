"""What each validation set and each task gave, beside the paper's Tables 15 to 19."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hcexp.evaluation.downstream.tasks import VOLATILE
from hcexp.paper import Erratum, PaperTable, errata
from hcexp.paper import parts as paper_parts
from hcexp.report.statistics import Estimate, estimate, paired_difference
from hcexp.report.suites import DOWNSTREAM, MEASURES, TASK_MEASURES, part_names
from hcexp.study.sweep.sweep import Outcome, Sweep

MEAN = "mean"


@dataclass(frozen=True)
class Part:
    """One set or task of one row: over its seeds, against the baseline, and as the paper prints it."""

    value: Estimate | None
    difference: Estimate | None
    printed: float | None


@dataclass(frozen=True)
class Parts:
    """One measure of a suite's sets or of the downstream tasks, for every row.

    `names` are the sets or tasks as they were measured, and `mean` last; `rows` has a `Part` for each, by label and
    name, in the metric's unit: accuracies are shares, but the paper's are percent. `paper` is the paper's table, None
    unless it prints a row of the sweep.
    """

    benchmark: str
    measure: str
    names: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Part]]
    paper: PaperTable | None
    errata: tuple[Erratum, ...]


def parts(sweep: Sweep, finished: Sequence[Outcome], benchmarks: Sequence[str]) -> tuple[Parts, ...]:
    """A table for every measure of every benchmark, as far as there is something measured."""
    found = []
    for benchmark in benchmarks:
        for measure in TASK_MEASURES if benchmark == DOWNSTREAM else MEASURES:
            table = _table(sweep, finished, benchmark, measure)
            if set(table.names) - {MEAN}:
                found.append(table)
    return tuple(found)


def _table(sweep: Sweep, finished: Sequence[Outcome], benchmark: str, measure: str) -> Parts:
    known = [name for outcome in finished for name in part_names(outcome.metrics, benchmark, measure)]
    names = sorted(dict.fromkeys(known), key=lambda name: name == MEAN)  # a sort keeps the order of the others
    values = {
        (row.label, name): _by_seed(finished, row.label, f"{benchmark}/{name}/{measure}")
        for row in sweep.rows
        for name in names
    }
    paper = paper_parts(benchmark, measure)
    if paper and not any(row.label in paper.labels for row in sweep.rows):
        paper = None
    rows = {}
    for row in sweep.rows:
        printed = paper.row(row.label) if paper and row.label in paper.labels else {}
        measured = {name for name in names if values[row.label, name]}
        if not (paper and comparable(measured, paper)):
            printed = {name: value for name, value in printed.items() if name != MEAN}
        rows[row.label] = {
            name: Part(
                estimate(list(values[row.label, name].values())),
                None
                if row.label == sweep.baseline
                else paired_difference(values[row.label, name], values[sweep.baseline, name]),
                printed.get(name),
            )
            for name in names
        }
    return Parts(benchmark, measure, tuple(names), rows, paper, errata(paper.number) if paper else ())


def comparable(measured: set[str], paper: PaperTable) -> bool:
    """Whether the mean of what was measured is over the same sets or tasks as the paper's; volatile tasks are in
    neither.
    """
    return measured - VOLATILE - {MEAN} == set(paper.columns) - {MEAN}


def _by_seed(finished: Sequence[Outcome], label: str, metric: str) -> dict[int, float]:
    return {o.seed: o.metrics[metric] for o in finished if o.label == label and o.metrics.get(metric) is not None}
