"""The report as one HTML page: no network, no library, opens from disk."""

import math
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hcexp.report.contents import Report
from hcexp.report.cost_grid import GROUPS, cost_grid
from hcexp.report.grid import Grid, grid
from hcexp.report.heading import subtitle
from hcexp.report.statistics import Estimate
from hcexp.report.suites import title

# In units of the drawing, which is as wide as 100 of them.
MARGIN = 6.0


def html(report: Report) -> str:
    """The page. Every text of a run is escaped; the table needs no JavaScript, the curves do."""
    names = {"paper": f"Paper, Table {report.sweep.table}", "run": "Runs"}
    suites = {suite: f"Measured, {title(suite)} suite" for suite in report.suites}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            subtitle=subtitle(report),
            content=_laid_out(report, grid(report), names | suites),
            costs=_laid_out(report, cost_grid(report), GROUPS) if report.costs.known else None,
            figure=figure_data(report),
            commands=[outcome for outcome in report.outcomes if outcome.command],
        )
    )


def figure_data(report: Report) -> dict[str, Any]:
    """The curves as JSON: values with five digits after the point, finite ones alone."""
    return {
        "axis": report.figure.axis,
        "rows": [
            {
                "label": row.label,
                "baseline": row.is_baseline,
                "mean": _points(row.mean),
                "difference": _points(row.difference),
                "seeds": [_points(curve) for curve in row.seeds.values()] if len(row.seeds) > 1 else [],
                "count": len(row.seeds),
            }
            for row in report.figure.rows
        ],
    }


def _points(curve: tuple[tuple[int, float], ...]) -> list[list[float]]:
    return [[x, round(y, 5)] for x, y in curve]


def _laid_out(report: Report, content: Grid, names: Mapping[str, str]) -> dict[str, Any]:
    """What the template of a table needs; `names` are those of its groups."""
    drawn = _drawn(content)
    return {
        "columns": content.columns,
        "rows": list(zip(report.rows, content.rows, strict=True)),
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
    drawn = {}
    for index in range(len(content.columns)):
        found = [row[index].interval for row in content.rows]
        known = [each for each in found if each is not None and math.isfinite(each.mean)]
        if not known:
            continue
        ends = [each.mean + side * (each.half_width or 0) for each in known for side in (-1, 1)]
        low, high = min(0.0, *ends), max(0.0, *ends)
        scale = (100 - 2 * MARGIN) / ((high - low) or 1.0)

        drawn[index] = [_place(each if each in known else None, low, scale) for each in found]
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
