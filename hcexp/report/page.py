"""The report as one HTML page: no network, no library, opens from disk."""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hcexp.report.budget_grid import GROUPS as BUDGET_GROUPS
from hcexp.report.budget_grid import budget_grid, budgets_title
from hcexp.report.budgets import Budgets
from hcexp.report.contents import Report, ReportRow
from hcexp.report.cost_grid import GROUPS as COST_GROUPS
from hcexp.report.cost_grid import cost_grid
from hcexp.report.figure_data import figure_data
from hcexp.report.grid import Grid, grid
from hcexp.report.heading import subtitle
from hcexp.report.looks import marked
from hcexp.report.matrices import LEVELS, matrix_data, panels
from hcexp.report.parts import Parts
from hcexp.report.parts_grid import parts_grid, parts_title
from hcexp.report.ranking import Ranking
from hcexp.report.ranking_grid import GROUPS as RANKING_GROUPS
from hcexp.report.ranking_grid import ranking_grid, ranking_title
from hcexp.report.statistics import Estimate
from hcexp.report.suites import title

# In units of the drawing, which is as wide as 100 of them.
MARGIN = 6.0
# What of the set-up stands at the beginning; the rest, what the runs were made by, at the end.
FACTS = ("parameters", "tokens", "steps", "learning rate", "evaluated on", "seeds", "hardware")


def html(report: Report) -> str:
    """The page. Every text of a run is escaped; the table needs no JavaScript, the curves do."""
    names = {"paper": f"Paper, Table {report.sweep.table}", "run": "Runs"}
    suites = {suite: marked(f"Measured, {title(suite)} suite", report.looks.get(suite)) for suite in report.suites}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            subtitle=subtitle(report),
            facts=[(name, text) for name, text in report.setup if name in FACTS],
            made_by=[(name, text) for name, text in report.setup if name not in FACTS],
            content=_laid_out(report.rows, grid(report), names | suites),
            budgets=[_budgets(report, each) for each in report.budgets],
            rankings=[_ranking(report, each) for each in report.tested_rankings],
            costs=_laid_out(report.rows, cost_grid(report), COST_GROUPS) if report.costs.known else None,
            parts=[_parts(report, each) for each in report.parts],
            figure=figure_data(report),
            matrices=(drawn := _matrices(report)),
            matrix_data=matrix_data(panel for row in drawn for panel in row["panels"]),
            levels=range(1, LEVELS + 1),
            commands=[outcome for outcome in report.outcomes if outcome.command],
        )
    )


def _parts(report: Report, parts: Parts) -> dict[str, Any]:
    """A table of sets or tasks, each of which is a group, and its title."""
    content = parts_grid(report, parts)
    groups = {column.group: column.group for column in content.columns}
    return {"title": parts_title(report, parts), "content": _laid_out(report.rows, content, groups)}


def _budgets(report: Report, budgets: Budgets) -> dict[str, Any]:
    content = _laid_out(report.rows, budget_grid(report, budgets), BUDGET_GROUPS)
    return {"title": budgets_title(report, budgets), "content": content}


def _ranking(report: Report, ranking: Ranking) -> dict[str, Any]:
    content = _laid_out(report.ranked(ranking), ranking_grid(report, ranking), RANKING_GROUPS)
    return {"title": ranking_title(report, ranking), "content": content}


def _matrices(report: Report) -> list[dict[str, Any]]:
    """The rows that have connection matrices, with their panels."""
    limit = report.matrices.limit
    return [{"row": row, "panels": list(panels(row, limit))} for row in report.matrices.rows]


def _laid_out(rows: Sequence[ReportRow], content: Grid, names: Mapping[str, str]) -> dict[str, Any]:
    """What the template of a table needs, a line for each of the rows; `names` are those of its groups."""
    drawn = _drawn(content)
    return {
        "columns": content.columns,
        "rows": list(zip(rows, content.rows, strict=True)),
        "notes": content.notes,
        "groups": _groups(content, drawn, names),
        "drawn": drawn,
    }


def _groups(content: Grid, drawn: Collection[int], names: Mapping[str, str]) -> list[tuple[str, int]]:
    """The upper header: (name, columns spanned), over what follows the label; a drawing is a column too."""
    spans: dict[str, int] = {}
    for index, column in enumerate(content.columns[1:], start=1):
        name = names[column.group]
        spans[name] = spans.get(name, 0) + (2 if index in drawn else 1)
    return list(spans.items())


def _drawn(content: Grid) -> dict[int, list[dict[str, float]]]:
    """For each column with differences: where each row's mean and interval lie, 0 to 100, and where 0 lies."""
    columns = {index: [row[index].interval for row in content.rows] for index in range(len(content.columns))}
    known = {index: [each for each in found if each and math.isfinite(each.mean)] for index, found in columns.items()}
    every = [each for found in known.values() for each in found]
    drawn = {}
    for index, here in known.items():
        if here:
            ends = [
                each.mean + side * (each.half_width or 0)
                for each in (every if content.one_scale else here)
                for side in (-1, 1)
            ]
            low, high = min(0.0, *ends), max(0.0, *ends)
            scale = (100 - 2 * MARGIN) / ((high - low) or 1.0)
            drawn[index] = [_place(each if each in here else None, low, scale) for each in columns[index]]
    return drawn


def _place(estimate: Estimate | None, low: float, scale: float) -> dict[str, float]:
    def at(value: float) -> float:
        return round(MARGIN + (value - low) * scale, 2)

    if estimate is None:
        return {"zero": at(0.0)}
    half = estimate.half_width or 0.0
    ends = {"low": at(estimate.mean - half), "high": at(estimate.mean + half)}
    return {"zero": at(0.0), "mean": at(estimate.mean), **ends}


@cache
def _environment() -> Environment:
    # Everything is escaped, whatever a template is called; the JSON goes through `tojson`, which writes
    # <, > and & as \u escapes, so that no label can end its script element.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment
