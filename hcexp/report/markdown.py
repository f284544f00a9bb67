"""The report as Markdown that reads well on GitHub."""

import re
from collections.abc import Iterable, Sequence

from hcexp.report.budget_grid import budget_grid, budgets_title
from hcexp.report.contents import Report, ReportRow
from hcexp.report.cost_grid import cost_grid
from hcexp.report.grid import Grid, grid
from hcexp.report.heading import subtitle
from hcexp.report.looks import marked
from hcexp.report.parts_grid import parts_grid, parts_title
from hcexp.report.ranking_grid import ranking_grid, ranking_title


def markdown(report: Report) -> str:
    """Title, question, what the numbers say, the table, its notes, what is unfinished, set-up and commands."""
    question = [escape(report.sweep.question)] if report.sweep.question else []
    parts = [f"# {escape(report.sweep.title)}", *question, escape(subtitle(report))]
    parts += [f"> **Warning.** {escape(warning)}" for warning in report.warnings]
    parts += [_list(report.statements), *_table(grid(report), report.rows)]
    for budgets in report.budgets:
        parts += [f"## {escape(budgets_title(report, budgets))}"]
        parts += _table(budget_grid(report, budgets), report.rows)
    for ranking in report.tested_rankings:
        parts += [
            f"## {escape(ranking_title(report, ranking))}",
            *_table(ranking_grid(report, ranking), report.ranked(ranking)),
        ]
    if report.parts:
        parts.append("## Sets and tasks")
    for each in report.parts:
        table, notes = _table(parts_grid(report, each), report.rows)
        parts.append(_folded(escape(parts_title(report, each)), f"{table}\n\n{notes}"))
    if report.costs.known:
        parts += ["## Cost", *_table(cost_grid(report), report.rows)]
    if report.unfinished:
        parts += ["## Not finished", _list(_unfinished(report))]
    if report.errata:
        parts += ["## The paper's errata", _list([str(erratum) for erratum in report.errata])]
    parts += ["## Set-up", "\n".join(f"- **{name}**: {escape(text)}" for name, text in report.setup)]
    parts += ["## To repeat it", _code(report.command)]
    commands = [outcome.command for outcome in report.outcomes if outcome.command]
    if commands:
        parts.append(_folded("Each run", _code("\n".join(commands))))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """`text` on one line, with nothing that Markdown or HTML would read as its own."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)


def _table(content: Grid, rows: Sequence[ReportRow]) -> tuple[str, str]:
    """The table, a line for each of the rows, and its notes."""
    sides = ["---:" if column.numeric else ":---:" for column in content.columns]
    lines = [[escape(marked(column.header, column.look)) for column in content.columns], [":---", *sides[1:]]]
    for row, made in zip(rows, content.rows, strict=True):
        label, *cells = [escape(cell.text) for cell in made]
        lines.append([f"**{label}**" if row.is_baseline else label, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines), "<br>\n".join(map(escape, content.notes))


def _folded(summary: str, text: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


def _unfinished(report: Report) -> list[str]:
    return [f"{o.label}, seed {o.seed}: {o.ending}" for o in report.unfinished]


def _code(text: str) -> str:
    # A fence longer than any run of backticks inside cannot be closed from inside.
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"
