"""The report as one HTML page: no network, no library, opens from disk."""

import math
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hcexp.report.contents import Report
from hcexp.report.cost_grid import GROUPS, cost_grid
from hcexp.report.figure_data import figure_data
from hcexp.report.grid import Grid, grid
from hcexp.report.heading import subtitle
from hcexp.report.looks import marked
from hcexp.report.parts import Parts
from hcexp.report.parts_grid import parts_grid, parts_title
from hcexp.report.statistics import Estimate
from hcexp.report.suites import title

# In units of the drawing, which is as wide as 100 of them.
MARGIN = 6.0


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
            content=_laid_out(report, grid(report), names | suites),
            costs=_laid_out(report, cost_grid(report), GROUPS) if report.costs.known else None,
            parts=[_parts(report, each) for each in report.parts],
            figure=figure_data(report),
            commands=[outcome for outcome in report.outcomes if outcome.command],
        )
    )


def _parts(report: Report, parts: Parts) -> dict[str, Any]:
    """A table of sets or tasks, each of which is a group, and its title."""
    content = parts_grid(report, parts)
    groups = {column.group: column.group for column in content.columns}
    return {"title": parts_title(report, parts), "content": _laid_out(report, content, groups)}


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
