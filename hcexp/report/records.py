"""The report as CSV: unrounded, an empty cell for what was not measured; a line a row, a run, or a set or task."""

import csv as writer
import io
from collections.abc import Iterator

from hcexp.report.budgets import EQUAL, TOKENS, Budgets, Reading
from hcexp.report.contents import Measure, Report, ReportRow
from hcexp.report.costs import RowCost
from hcexp.report.grid import paper_columns, paper_header
from hcexp.report.measured import COLUMNS
from hcexp.report.parts import Part, Parts
from hcexp.report.statements import PAPER_LOSS
from hcexp.report.suites import ACCURACY, DOWNSTREAM, MEASURES, SPIKE_SCORE, SPIKES, compared, loss_name, title

RUN = {SPIKES: "spikes", SPIKE_SCORE: "spike score", ACCURACY: "downstream accuracy"}


def csv(report: Report) -> str:
    """A header and a line a row. Shares stay shares (0 to 1); the paper's columns keep its units."""
    return _written([dict(_cells(report, row)) for row in report.rows])


def runs_csv(report: Report) -> str:
    """A line for every row under every seed, with what became of it and its metrics by their own names: what every mean
    and difference of a report is made of, and whatever else one would compare.
    """
    names = dict.fromkeys(name for outcome in report.outcomes for name in outcome.metrics)
    return _written(
        [
            {"label": run.label, "seed": run.seed, "state": run.state, "run": run.directory.name}
            | {name: run.metrics.get(name) for name in names}
            for run in report.outcomes
        ]
    )


def parts_csv(report: Report) -> str:
    """A line for every row, measure, and set or task (`mean` last) of what was evaluated; in the units of `csv`."""
    return _written([dict(line) for parts in report.parts for line in _parts(report, parts)])


def _written(lines: list[dict[str, object]]) -> str:
    if not lines:
        return ""
    text = io.StringIO()
    out = writer.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    out.writeheader()
    out.writerows(lines)
    return text.getvalue()


def _cells(report: Report, row: ReportRow) -> Iterator[tuple[str, object]]:
    yield "label", row.label
    for name in paper_columns(report):
        yield f"paper {paper_header(name)}", row.printed.get(name)
    if report.paper:
        yield "paper table", row.printed_in
    yield "seeds asked", len(row.asked)
    yield "seeds finished", len(row.finished)
    for suite in report.suites:
        yield f"{title(suite)} read", report.looks.get(suite, "whole")
        for key, (header, _) in MEASURES.items():
            metric = f"{suite}/mean/{key}"
            yield from _measure(f"{title(suite)} {header}", row.measures[metric])
            for column in compared(metric) if report.paper else ():
                yield f"{title(suite)} {header} sign as {PAPER_LOSS[column]}", row.measures[metric].agrees[column]
    for metric, header in RUN.items():
        yield from _measure(header, row.measures[metric])
    yield f"{DOWNSTREAM} read", report.looks.get(DOWNSTREAM, "whole") if row.measures[ACCURACY].value else None
    for budgets in report.budgets:
        yield from _budgets(budgets, row.label)
    yield from _cost(next(cost for cost in report.costs.rows if cost.label == row.label))


def _parts(report: Report, parts: Parts) -> Iterator[list[tuple[str, object]]]:
    for label, row in parts.rows.items():
        for name, part in row.items():
            yield [
                ("label", label),
                ("suite", parts.benchmark),
                ("set or task", name),
                ("measure", parts.measure),
                ("read", report.looks.get(parts.benchmark, "whole")),
                ("paper", part.printed),
                ("paper table", None if part.printed is None else parts.paper.number),
                *_measure("value", part),
            ]


def _budgets(budgets: Budgets, label: str) -> Iterator[tuple[str, object]]:
    name, speedup = loss_name(budgets.metric), budgets.speedups.get(label)
    for equal, readings in budgets.readings.items():
        at = readings[label]
        yield from _measure(f"{name} at {EQUAL[equal]}", at)
        if equal != TOKENS:
            yield f"{name} at {EQUAL[equal]}, cost of a token over baseline", at.cost and at.cost.mean
            yield f"{name} at {EQUAL[equal]}, read at share of tokens", at.read and at.read.mean
    ratio = speedup and speedup.ratio
    yield f"{name} convergence ratio", ratio and ratio.mean
    yield f"{name} convergence ratio half width", ratio and ratio.half_width
    yield f"{name} convergence ratio is a lower bound", ratio and speedup.at_least
    yield f"{name} convergence ratio seeds reached", speedup and speedup.reached
    yield f"{name} convergence ratio seeds not reached", speedup and len(speedup.not_reached)


def _measure(header: str, measure: Measure | Part | Reading) -> Iterator[tuple[str, object]]:
    for name, estimate in ((header, measure.value), (f"{header} difference", measure.difference)):
        yield name, estimate and estimate.mean
        yield f"{name} half width", estimate and estimate.half_width
        yield f"{name} seeds", estimate and estimate.count
    yield f"{header} beyond noise", measure.difference and measure.difference.beyond_noise


def _cost(cost: RowCost) -> Iterator[tuple[str, object]]:
    predicted, measured = cost.predicted, cost.measured
    yield "parameters", predicted and predicted.parameters.total
    yield "parameters of the residual mode", predicted and predicted.parameters.residual
    yield "forward FLOPs per token", predicted and predicted.flops.forward
    yield "training FLOPs per token", predicted and predicted.flops.training
    by_formula = predicted and (cost.is_baseline or predicted.by_formula)
    yield "activation bytes by formula", predicted.activations if by_formula else None
    ratios = {"run's tokens per second over baseline": cost.speed, "run's peak memory over baseline": cost.memory}
    for name, ratio in ratios.items():
        yield name, ratio and ratio.mean
        yield f"{name} half width", ratio and ratio.half_width
    for field in ("step", "step_low", "step_high", "peak", "device", "command"):
        yield f"{COLUMNS[field]}, interleaved", measured and getattr(measured, field)
