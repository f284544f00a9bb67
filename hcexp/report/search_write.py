"""A search's report in a terminal, and as Markdown, CSV and the tuned values that other sweeps take."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hcexp.disk.atomic import write_text
from hcexp.report.markdown import escape
from hcexp.report.numbers import NOTHING, fixed
from hcexp.report.search import SearchReport
from hcexp.study.sweep.overrides import written
from hcexp.study.sweep.tuning import FILE, tuned_text

ARROWS = {"lower": "↓", "upper": "↑"}  # beside a value that lies at this end of its range


def show_search(report: SearchReport, console: Console) -> None:
    """Table and notes. Labels are shown as they are, not as markup."""
    header, lines = _table(report.rows)
    table = Table(
        title=Text(report.sweep.title, style="bold"), caption=Text(report.subtitle), box=None, collapse_padding=True
    )
    for index, name in enumerate(header):
        table.add_column(Text(name.replace(" ", "\n")), justify="right" if index else "left", vertical="bottom")
    for found, cells in zip(report.found, lines, strict=True):
        table.add_row(*map(Text, cells), style="dim" if found.label == report.sweep.baseline else "")
    console.print(table)
    for note in report.notes:
        console.print(Text(note))


def write_search(report: SearchReport, folder: Path) -> list[Path]:
    """`search.md`, `search.csv`, `search-trials.csv` and `tuned.yaml` in `folder`, which is made; their paths."""
    texts = {
        "search.md": search_markdown(report),
        "search.csv": _csv(report.rows),
        "search-trials.csv": _csv(report.trials),
        FILE: tuned_text(report.sweep, report.scale, report.command, report.found),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def search_markdown(report: SearchReport) -> str:
    """Title, question, table, notes, every trial, and the command."""
    parts = [
        f"# {escape(report.sweep.title)}",
        escape(report.sweep.question),
        escape(report.subtitle),
        _markdown(*_table(report.rows)),
        "\n".join(f"- {escape(note)}" for note in report.notes),
        "## Trials",
        _markdown(*_table(report.trials)),
        "## To repeat it",
        f"```sh\n{report.command}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(lines: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells as texts; that a value lies at an end of its range stands beside it."""
    header = [name for name in (lines[0] if lines else ()) if not name.startswith("end of ")]
    return header, [[_cell(line, name) for name in header] for line in lines]


def _cell(line: dict[str, Any], name: str) -> str:
    value = line[name]
    if value is None:
        return NOTHING
    if name == "change" or name.endswith("loss"):
        return fixed(value, 3, signed=name == "change")
    text = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else written(value)
    end = line.get(f"end of {name.removeprefix('best ')}") if name.startswith("best ") else None
    return f"{text} {ARROWS[end]}" if end else text


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    sides = [":---", *["---:"] * (len(header) - 1)]
    table = [[escape(name) for name in header], sides, *([escape(cell) for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    """Unrounded, an empty cell for what is not known."""
    text = io.StringIO()
    out = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
    out.writeheader()
    out.writerows(lines)
    return text.getvalue()
