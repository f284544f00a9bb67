"""The main table: what was measured beside what the paper prints."""

from collections.abc import Iterator
from functools import partial

from hcexp.report.looks import marked
from hcexp.report.numbers import as_printed, difference, percent, verdict, with_interval, yes_no
from hcexp.report.results import Results
from hcexp.report.suites import (
    ACCURACY,
    DOWNSTREAM,
    MEAN_LOSS,
    MEASURES,
    PAPER_LOSS,
    SPIKE_SCORE,
    SPIKES,
    compared,
    title,
)
from hcexp.tables.format import NOTHING, fixed
from hcexp.tables.table import Column, Entry, Table, lay_out

PAPER_COLUMNS = {
    **PAPER_LOSS,
    "v2_ppl": "V2 ppl",
    "v3_ppl": "V3 ppl",
    "downstream_accuracy": "accuracy %",
}
# What names a row is its label, not a value.
NAMING = ("model", "precision", "scale", "train_wc", "train_b", "tanh")

INCOMPLETE = "†"
ELSEWHERE = "‡"


def main_table(results: Results) -> Table:
    """A row of the sweep a line: the columns of each suite, the paper's, then those of the runs.

    What was measured comes first, so that a narrow window shows it.
    """
    entries = [
        (Column("row", side="left"), partial(_label, results)),
        *(entry for suite in results.suites for entry in _suite(results, suite)),
        *_paper(results),
        *_runs(results),
    ]
    return lay_out(
        "Paper beside measured" if results.paper else "Measured",
        results.labels,
        entries,
        notes=tuple(_notes(results)),
        strong=results.labels.index(results.baseline),
    )


def _paper(results: Results) -> Iterator[Entry]:
    for name in results.paper.columns if results.paper else ():
        if name not in NAMING:
            short, group = PAPER_COLUMNS.get(name, name.replace("_", " ")), f"Paper, Table {results.paper.number}"
            column = Column(f"paper {short}", group, extra=name not in PAPER_LOSS, printed=True, short=short)
            yield column, lambda label, name=name: as_printed(results.printed(label, name), name)


def _suite(results: Results, suite: str) -> Iterator[Entry]:
    look, name, metric = results.looks.get(suite, ""), title(suite), f"{suite}{MEAN_LOSS}"
    column = partial(Column, group=marked(f"Measured, {name} suite", look))

    def mean(key: str) -> Entry:
        header, decimals = MEASURES[key]
        return (
            column(f"{name} {header}", extra=key != "loss", short=header, mark=look),
            lambda label: with_interval(results.mean(label, f"{suite}/mean/{key}"), decimals),
        )

    yield mean("loss")
    yield (
        column(f"Δ {name} loss", short="Δ loss", mark=look),
        lambda label: difference(results.difference(label, metric), len(results.runs(label))),
    )

    def beyond(label: str) -> str:
        found = results.difference(label, metric)
        return yes_no(found.beyond_noise if found else None)

    yield column("beyond noise", side="center"), beyond
    for printed in compared(metric) if results.paper else ():
        yield (
            column(f"sign as {PAPER_LOSS[printed]}", side="center"),
            lambda label, p=printed: verdict(results.agrees(label, metric, p)),
        )
    yield from map(mean, [key for key in MEASURES if key != "loss"])


def _runs(results: Results) -> Iterator[Entry]:
    column = partial(Column, group="Runs")
    asked = len(results.sweep.seeds)

    def seeds(label: str) -> str:
        finished = len(results.runs(label))
        return f"{finished} of {asked}" if finished < asked else str(finished)

    def spikes(label: str) -> str:
        # A count is whole for one seed, and a mean over several.
        found = results.mean(label, SPIKES)
        return NOTHING if found is None else fixed(found.mean, 0 if found.count == 1 else 1)

    yield column("seeds"), seeds
    yield column("spikes", extra=True), spikes
    yield (
        column("spike score %", extra=True),
        lambda label: percent(results.mean(label, SPIKE_SCORE), 2, interval=False),
    )
    yield (
        column(marked("downstream accuracy %", results.looks.get(DOWNSTREAM)), extra=True),
        lambda label: percent(results.mean(label, ACCURACY), 1),
    )


def _elsewhere(results: Results, label: str) -> bool:
    return results.printed_in(label) not in (None, results.sweep.table)


def _label(results: Results, label: str) -> str:
    marks = (INCOMPLETE if results.incomplete(label) else "") + (ELSEWHERE if _elsewhere(results, label) else "")
    return f"{label} {marks}".rstrip()


def _notes(results: Results) -> Iterator[str]:
    if results.several:
        yield (
            "±: half width of the 95 % Student-t interval of the mean over seeds. Spikes and spike score: means over "
            "seeds."
        )
    yield f"Δ: row minus {results.baseline}, paired by seed; below 0 the row is better."
    if results.several:
        yield "Beyond noise: the interval of Δ excludes 0."
    if results.paper and results.suites:
        yield "Sign as V2 loss, V3 loss: whether Δ has the sign of the paper's own difference in that column."
    yield f"{NOTHING}: not measured, not printed, or nothing to compare."
    if any(map(results.incomplete, results.labels)):
        yield f"{INCOMPLETE} Fewer seeds than asked for: the row uses those that finished."
    for label in results.labels:
        if _elsewhere(results, label):
            yield (
                f"{ELSEWHERE} Table {results.sweep.table} has no row {label}: the paper's columns show the one of "
                f"Table {results.printed_in(label)}."
            )
