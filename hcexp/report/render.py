"""A report in its formats: three templates over the same tables, and into a folder."""

import math
import re
import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hcexp.disk.atomic import write_text
from hcexp.report.export import csv, runs_csv
from hcexp.report.looks import marked
from hcexp.report.matrices import svg
from hcexp.report.report import Report
from hcexp.tables.table import Column, Table

# In units of the drawing of an interval, which is as wide as 100 of them.
MARGIN = 6.0
# Characters of a line of a header in LaTeX.
NARROW = 11

GREEK = "alpha beta gamma delta lambda mu rho sigma chi omega Delta Sigma Omega".split()
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": r"$-$",
    "≈": r"$\approx$",
    "≥": r"$\geq$",
    "√": r"$\surd$",
    "∞": r"$\infty$",
    "·": r"$\cdot$",
    "✓": r"\checkmark{}",
    "✗": r"$\times$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "–": r"\textendash{}",
    "[": "{[}",
    **{letter: f"$\\{command}$" for letter, command in zip("αβγδλμρσχωΔΣΩ", GREEK, strict=True)},
}


class Verbatim(str):
    """A text that a template writes as it is."""


def html(report: Report) -> str:
    """One page that opens from disk: no network, no library. The tables need no JavaScript, the curves do."""
    drawing = svg(report.matrices) if report.matrices.rows else ""
    return _page().get_template("report.html.j2").render(report=report, matrices=drawing)


def markdown(report: Report) -> str:
    """What reads well on GitHub."""
    return _text("markdown").get_template("report.md.j2").render(report=report)


def search_markdown(report: Any) -> str:
    """What a search has found; see `search.SearchReport`."""
    return _text("markdown").get_template("search.md.j2").render(report=report)


def latex(report: Report) -> str:
    """The tables to put into a paper: `\\input{report}` between text, with the package booktabs."""
    return _text("latex").get_template("report.tex.j2").render(report=report)


def write(report: Report, folder: Path) -> list[Path]:
    """`report.md`, `.html`, `.tex` and `.csv`, and if a run has finished `report-runs.csv`, into `folder`, which is
    made if need be; their paths.
    """
    texts = {
        "report.md": markdown(report),
        "report.csv": csv(report),
        "report.html": html(report),
        "report.tex": latex(report),
    }
    if report.results.finished:
        texts["report-runs.csv"] = runs_csv(report)
    else:
        (Path(folder) / "report-runs.csv").unlink(missing_ok=True)  # of an earlier report
    for name, text in texts.items():
        write_text(Path(folder) / name, text)
    return [Path(folder) / name for name in texts]


def escape_markdown(text: str) -> str:
    """`text` on one line, with nothing that Markdown or HTML would read as its own."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)


def escape_latex(text: str) -> str:
    """`text` on one line, for text mode; no character of it does anything but print."""
    # What `split` leaves of the control characters does not print.
    line = (character for character in " ".join(text.split()) if unicodedata.category(character) != "Cc")
    escaped = "".join(LATEX.get(character, character) for character in line)
    return escaped.replace("--", "-{}-").replace("--", "-{}-")  # of an option, no dash


def code_block(text: str) -> Verbatim:
    """A block of Markdown; a fence longer than any run of backticks inside cannot be closed from inside."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Verbatim(f"{fence}sh\n{text}\n{fence}")


def comment(text: str) -> Verbatim:
    """A text as what follows a % in LaTeX."""
    return Verbatim(" ".join(text.split()))


def label(text: str) -> Verbatim:
    """A text as the name of a LaTeX label."""
    return Verbatim(re.sub("[^A-Za-z0-9]+", "-", text))


def stacked(text: str, width: int, side: str) -> Verbatim:
    """A header in LaTeX, in as many lines as it takes."""
    lines = list(map(escape_latex, wrap(text, width)))
    if len(lines) < 2:
        return Verbatim("".join(lines))
    return Verbatim(rf"\shortstack[{side[0]}]{{" + r" \\ ".join(lines) + "}")


def groups(table: Table) -> list[tuple[str, list[Column]]]:
    """The groups above the columns, the first column's aside; none where no column has one."""
    found = [(name, list(members)) for name, members in groupby(table.columns[1:], key=lambda column: column.group)]
    return found if any(name for name, _ in found) else []


def essential(table: Table) -> Table:
    """A table for a page of paper: without the extra columns."""
    return table.only(lambda column: not column.extra)


def drawn(table: Table) -> dict[int, list[dict[str, float]]]:
    """For each column with intervals: where each row's mean and interval lie, 0 to 100, and where 0 lies."""
    columns = {at: [getattr(row[at], "interval", None) for row in table.rows] for at in range(len(table.columns))}
    known = {at: [each for each in found if each and math.isfinite(each.mean)] for at, found in columns.items()}
    every = [each for found in known.values() for each in found]
    places = {}
    for at, here in known.items():
        if here:
            ends = [
                each.mean + side * (each.half_width or 0)
                for each in (every if table.one_scale else here)
                for side in (-1, 1)
            ]
            low, high = min(0.0, *ends), max(0.0, *ends)
            scale = (100 - 2 * MARGIN) / ((high - low) or 1.0)
            places[at] = [_place(each if each in here else None, low, scale) for each in columns[at]]
    return places


def _place(interval: Any, low: float, scale: float) -> dict[str, float]:
    def at(value: float) -> float:
        return round(MARGIN + (value - low) * scale, 2)

    if interval is None:
        return {"zero": at(0.0)}
    half = interval.half_width or 0.0
    ends = {"low": at(interval.mean - half), "high": at(interval.mean + half)}
    return {"zero": at(0.0), "mean": at(interval.mean), **ends}


TEMPLATES = {
    "loader": FileSystemLoader(Path(__file__).parent / "templates"),
    "undefined": StrictUndefined,
    "trim_blocks": True,
    "lstrip_blocks": True,
    "keep_trailing_newline": True,
}
ESCAPES = {"markdown": escape_markdown, "latex": escape_latex}
# LaTeX is full of braces and per cent signs.
BRACKETS = {
    "block_start_string": "(%",
    "block_end_string": "%)",
    "variable_start_string": "((",
    "variable_end_string": "))",
    "comment_start_string": "(#",
    "comment_end_string": "#)",
}


@cache
def _page() -> Environment:
    # Everything is escaped, whatever a template is called; the JSON goes through `tojson`, which writes
    # <, > and & as \u escapes, so that no label can end its script element.
    environment = Environment(autoescape=True, **TEMPLATES)
    environment.globals |= {"groups": groups, "drawn": drawn}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


@cache
def _text(format: str) -> Environment:
    # What a template writes is escaped unless it is verbatim: no text can be forgotten.
    def escaped(value: Any) -> str:
        return value if isinstance(value, Verbatim) else ESCAPES[format](str(value))

    environment = Environment(finalize=escaped, **TEMPLATES, **(BRACKETS if format == "latex" else {}))
    environment.globals |= {
        "marked": marked,
        "code_block": code_block,
        "comment": comment,
        "label": label,
        "stacked": stacked,
        "groups": groups,
        "essential": essential,
        "narrow": NARROW,
    }
    return environment
