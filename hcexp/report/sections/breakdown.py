"""What each validation set and each task gave, beside the paper's Tables 15 to 19."""

from collections.abc import Iterator, Sequence

from hcexp.evaluation.downstream.tasks import VOLATILE
from hcexp.paper import PaperTable, breakdown, errata
from hcexp.report.looks import marked
from hcexp.report.numbers import percent, with_interval
from hcexp.report.results import Results
from hcexp.report.suites import DOWNSTREAM, MEAN, MEASURES, TASK_MEASURES, measure, part_names, title
from hcexp.tables.format import fixed
from hcexp.tables.table import Column, Entry, Table, lay_out

SHARE = "accuracy"
STAR = "*"


def breakdown_tables(results: Results) -> tuple[Table, ...]:
    """A table for every measure of every suite and of the tasks, as far as there is something measured."""
    return tuple(
        _table(results, benchmark, measure, names)
        for benchmark in results.benchmarks
        for measure in (TASK_MEASURES if benchmark == DOWNSTREAM else MEASURES)
        if set(names := parts(results, benchmark, measure)) - {MEAN}
    )


def parts(results: Results, benchmark: str, measure: str) -> list[str]:
    """The sets or tasks with such a measure, in the order of their evaluation, and `mean` last."""
    return sorted(part_names(results.metrics, benchmark, measure), key=lambda name: name == MEAN)


def paper_of(results: Results, benchmark: str, measure: str) -> PaperTable | None:
    """The paper's table of the measure, its errata put right; None unless it prints a row of the sweep."""
    paper = breakdown(benchmark, measure)
    return paper if paper and set(results.labels) & set(paper.labels) else None


def printed(
    results: Results, paper: PaperTable | None, label: str, benchmark: str, name: str, measure: str
) -> float | None:
    """What the paper prints of a set or task; its mean only beside a mean over the same sets or tasks."""
    if paper is None or label not in paper.labels:
        return None
    if name == MEAN and not _comparable(results, paper, label, benchmark, measure):
        return None
    return paper.row(label).get(name)


def _comparable(results: Results, paper: PaperTable, label: str, benchmark: str, measure: str) -> bool:
    """Whether the row was measured on the sets or tasks of the paper's mean; volatile tasks are in no mean."""
    measured = {
        name for name in parts(results, benchmark, measure) if results.values(label, f"{benchmark}/{name}/{measure}")
    }
    return measured - VOLATILE - {MEAN} == set(paper.columns) - {MEAN}


def _table(results: Results, benchmark: str, name: str, names: Sequence[str]) -> Table:
    """For every set or task what the paper prints, what was measured, and the difference."""
    paper, (header, _) = paper_of(results, benchmark, name), measure(benchmark, name)
    entries = [(Column("row", side="left"), lambda label: label)]
    for part in names:
        entries += _part(results, paper, benchmark, part, name)
    one = "task" if benchmark == DOWNSTREAM else "set"
    beside = f", beside Table {paper.number} of the paper" if paper else ""
    return lay_out(
        marked(f"{title(benchmark)} {header} of each {one}{beside}", results.looks.get(benchmark)),
        results.labels,
        entries,
        notes=tuple(_notes(results, paper, benchmark, name, names)),
        strong=results.labels.index(results.baseline),
    )


def _part(results: Results, paper: PaperTable | None, benchmark: str, part: str, name: str) -> Iterator[Entry]:
    header, decimals = measure(benchmark, name)
    metric, write = f"{benchmark}/{part}/{name}", percent if name == SHARE else with_interval
    group = f"{part} {STAR}" if benchmark == DOWNSTREAM and part in VOLATILE else part
    if paper and part in paper.columns:

        def as_printed(label: str) -> str | None:
            value = printed(results, paper, label, benchmark, part, name)
            return None if value is None else fixed(value, 1 if name == SHARE else 3)

        yield Column(f"{group} paper", group, short="paper", printed=True), as_printed
    yield Column(group, group, short=header), lambda label: write(results.mean(label, metric), decimals)
    yield (
        Column(f"Δ {group}", group, short="Δ"),
        lambda label: write(results.difference(label, metric), decimals, signed=True),
    )


def _notes(
    results: Results, paper: PaperTable | None, benchmark: str, name: str, names: Sequence[str]
) -> Iterator[str]:
    better, unit = ("above", ", in percentage points") if name == SHARE else ("below", "")
    yield f"Δ: row minus {results.baseline}, paired by seed{unit}; {better} 0 the row is better."
    if results.several:
        yield (
            "±: half width of the 95 % Student-t interval over seeds. Where there is in truth no difference, one "
            "interval of Δ in twenty excludes 0 too, and here are many."
        )
    if benchmark == DOWNSTREAM and VOLATILE & set(names):
        yield f"{STAR} Volatile: not in the mean, as in Table 15."
    if paper is None:
        return
    yield f"Paper: Table {paper.number}, OLMo-1B trained on 500B tokens. Compare signs and order, not values."
    measured = [
        label for label in results.labels if any(results.values(label, f"{benchmark}/{n}/{name}") for n in names)
    ]
    if MEAN in names and not all(_comparable(results, paper, label, benchmark, name) for label in measured):
        yield (
            f"The paper's mean is left out of rows that were measured on other sets or tasks than Table "
            f"{paper.number}'s."
        )
    if any(erratum.row is None for erratum in errata(paper.number)):
        yield f"The rows of Table {paper.number} stand under their right labels, not under the printed ones."
    yield from map(str, errata(paper.number))
