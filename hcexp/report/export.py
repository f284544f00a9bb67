"""A report as CSV: unrounded, an empty cell for what was not measured."""

import csv as writer
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hcexp.analysis.statistics import Estimate
from hcexp.cost.benchmark import COLUMNS
from hcexp.report.budgets import EQUAL, TOKENS, Budgets
from hcexp.report.contrasts import contrasts
from hcexp.report.costs import RowCost
from hcexp.report.report import Report
from hcexp.report.results import Results
from hcexp.report.sections.breakdown import paper_of, parts, printed
from hcexp.report.sections.verdict import EFFECTIVE
from hcexp.report.suites import DOWNSTREAM, MEAN, MEAN_LOSS, MEASURES, SPIKE_SCORE, SPIKES, TASK_MEASURES

# A line of `report.csv` is a quantity of a row. `value` and `difference`, which is to the row in `against`, are means
# over `seeds` and `difference seeds`, each with the half width of its 95 % interval.
FIELDS = (
    "row",
    "quantity",
    "read",
    "value",
    "half width",
    "seeds",
    "against",
    "difference",
    "difference half width",
    "difference seeds",
    "beyond noise",
    "p",
    "p, Holm",
    "paper",
    "paper table",
    "sign as paper",
)


def csv(report: Report) -> str:
    """A line for every row and quantity: everything that a report has a number of.

    Quantities are metrics by their own names, so shares stay shares (0 to 1), the paper's columns, budgets and costs.
    """
    lines = [line for label in report.results.labels for line in _lines(report, label)]
    return csv_text(FIELDS, lines)


def runs_csv(report: Report) -> str:
    """A line for every row under every seed, with what became of it and its metrics by their own names: what every mean
    and difference of a report is made of, and whatever else one would compare.
    """
    lines = [
        {"label": run.label, "seed": run.seed, "state": run.state, "run": run.directory.name, **run.metrics}
        for run in report.results.outcomes
    ]
    return csv_text(tuple(dict.fromkeys(name for line in lines for name in line)), lines)


def csv_text(fields: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> str:
    """A header and the lines, numbers to their last digit."""
    text = io.StringIO()
    out = writer.DictWriter(text, fieldnames=fields, lineterminator="\n")
    out.writeheader()
    out.writerows(lines)
    return text.getvalue()


def _lines(report: Report, label: str) -> Iterator[dict[str, Any]]:
    results = report.results
    quantities = [
        *_paper(results, label),
        *_metrics(results, label),
        *_planned(results, label),
        *(line for budgets in report.budgets for line in _budgets(results, budgets, label)),
        *_cost(next(row for row in report.costs.rows if row.label == label)),
    ]
    for quantity, values in quantities:
        yield {"row": label, "quantity": quantity, **values}


def _value(found: Estimate | None) -> dict[str, Any]:
    return {} if found is None else {"value": found.mean, "half width": found.half_width, "seeds": found.count}


def _difference(found: Estimate | None, against: str) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "against": against,
        "difference": found.mean,
        "difference half width": found.half_width,
        "difference seeds": found.count,
        "beyond noise": found.beyond_noise,
    }


def _paper(results: Results, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for column in results.paper.columns if results.paper else ():
        value = results.printed(label, column)
        if value is not None and not isinstance(value, str):
            yield f"paper {column}", {"paper": value, "paper table": results.printed_in(label)}


def _metrics(results: Results, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for metric in (SPIKES, SPIKE_SCORE):
        yield (
            metric,
            _value(results.mean(label, metric)) | _difference(results.difference(label, metric), results.baseline),
        )
    for benchmark in results.benchmarks:
        for measure in TASK_MEASURES if benchmark == DOWNSTREAM else MEASURES:
            paper = paper_of(results, benchmark, measure)
            for part in parts(results, benchmark, measure):
                metric = f"{benchmark}/{part}/{measure}"
                value = printed(results, paper, label, benchmark, part, measure)
                signs = [results.agrees(label, metric, f"{suite}_loss") for suite in ("v2", "v3") if part == MEAN]
                yield (
                    metric,
                    {
                        "read": results.looks.get(benchmark, "whole"),
                        **_value(results.mean(label, metric)),
                        **_difference(results.difference(label, metric), results.baseline),
                        "paper": value,
                        "paper table": None if value is None else paper.number,
                        "sign as paper": next((sign for sign in signs if sign is not None), None),
                    },
                )


def _planned(results: Results, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for suite in results.suites:
        for one in contrasts(results, f"{suite}{MEAN_LOSS}"):
            if one.row == label:
                tests = {"p": one.p, "p, Holm": one.corrected}
                yield f"{suite}{MEAN_LOSS}, planned", _difference(one.difference, one.against) | tests


def _budgets(results: Results, budgets: Budgets, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for equal, readings in budgets.readings.items():
        at, name = readings[label], f"{budgets.metric} at {EQUAL[equal]}"
        yield name, _value(at.value) | _difference(at.difference, results.baseline)
        if equal != TOKENS:
            yield f"{name}, cost of a token over baseline", _value(at.cost)
            yield f"{name}, read at share of tokens", _value(at.read)
    if found := budgets.convergence.get(label):
        yield f"{budgets.metric} {EFFECTIVE}", _value(budgets.effective.get(label))
        name = f"{budgets.metric} convergence ratio"
        yield f"{name}, lower bound" if found.at_least else name, _value(found.mean)
        yield f"{name}, seeds not reached", {"value": len(found.not_reached), "seeds": len(found.ratios)}


def _cost(cost: RowCost) -> Iterator[tuple[str, dict[str, Any]]]:
    if predicted := cost.predicted:
        yield "parameters", {"value": predicted.parameters.total}
        yield "parameters of the residual mode", {"value": predicted.parameters.residual}
        yield "forward FLOPs per token", {"value": predicted.flops.forward}
        yield "training FLOPs per token", {"value": predicted.flops.training}
        if cost.is_baseline or predicted.by_formula:
            yield "activation bytes by formula", {"value": predicted.activations}
    yield "run's tokens per second over baseline", _value(cost.speed)
    yield "run's peak memory over baseline", _value(cost.memory)
    for field in ("step", "step_low", "step_high", "peak") if cost.measured else ():
        yield f"{COLUMNS[field]}, interleaved", {"value": getattr(cost.measured, field)}
