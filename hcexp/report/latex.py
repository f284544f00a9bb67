"""The report's tables as LaTeX, to put into a paper: `\\input{report}` between text, with the package booktabs."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import groupby
from textwrap import wrap

from hcexp.report.budget_grid import GROUPS as BUDGETS
from hcexp.report.budget_grid import budget_grid, budgets_title
from hcexp.report.contents import Report
from hcexp.report.grid import Column, Grid, grid
from hcexp.report.heading import subtitle
from hcexp.report.looks import marked
from hcexp.report.statements import NOISE
from hcexp.report.suites import title

GREEK = "alpha beta gamma delta lambda mu rho sigma chi omega Delta Sigma Omega".split()
SPECIAL = {
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
# Characters of a line of a header.
NARROW = 11


def latex(report: Report) -> str:
    """The table of paper beside measured with its essential columns, and one of each curve at equal budgets.

    The captions say what was compared, with the noise floor; comments have the question and the commands.
    """
    content = grid(report)
    names = {"paper": f"Paper, Table {report.sweep.table}", "run": "Runs"}
    names |= {suite: f"Measured, {title(suite)} suite" for suite in report.suites}
    tables = [_table(report, content, names, report.sweep.title, report.sweep.name)]
    for budgets in report.budgets:
        content = budget_grid(report, budgets)
        caption = f"{report.sweep.title}. {budgets_title(report, budgets)}"
        tables.append(_table(report, content, BUDGETS, caption, f"{report.sweep.name} {budgets.metric}"))
    return "\n".join((*_comments(report), *tables, ""))


def escape(text: str) -> str:
    """`text` on one line, for text mode; no character of it does anything but print."""
    # What `split` leaves of the control characters does not print.
    line = (character for character in " ".join(text.split()) if unicodedata.category(character) != "Cc")
    escaped = "".join(SPECIAL.get(character, character) for character in line)
    return escaped.replace("--", "-{}-").replace("--", "-{}-")  # of an option, no dash


def _comments(report: Report) -> Iterator[str]:
    if report.sweep.question:
        yield f"% {' '.join(report.sweep.question.split())}"
    yield "% Needs \\usepackage{booktabs,amssymb,textcomp}, and UTF-8. Made by hcexp report; to repeat it:"
    for line in (report.command, *(outcome.command for outcome in report.outcomes if outcome.command)):
        yield f"%   {' '.join(line.split())}"


def _table(report: Report, content: Grid, names: Mapping[str, str], caption: str, label: str) -> str:
    """Of the essential columns."""
    chosen = [index for index, column in enumerate(content.columns) if column.essential or not index]
    columns = [content.columns[index] for index in chosen]
    sides = "".join("r" if column.numeric else "c" for column in columns[1:])
    groups, rules, at = [], [], 2
    for group, members in groupby(columns[1:], key=lambda column: column.group):
        end = at + len(list(members))
        groups.append(rf"\multicolumn{{{end - at}}}{{c}}{{{_stacked(names[group], 2 * NARROW, 'c')}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{end - 1}}}")
        at = end
    noise = [said for said in report.statements if said.startswith(NOISE)]
    lines = [
        r"\begin{table}",
        r"  \centering\small\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{escape(' '.join((f'{caption}: {subtitle(report)}.', *noise)))}}}",
        rf"  \label{{tab:{re.sub('[^A-Za-z0-9]+', '-', label)}}}",
        rf"  \begin{{tabular}}{{@{{}}l{sides}@{{}}}}",
        r"    \toprule",
        rf"    {' & '.join(['', *groups])} \\",
        f"    {' '.join(rules)}",
        rf"    {' & '.join(['', *map(_header, columns[1:])])} \\",
        r"    \midrule",
    ]
    for row, cells in zip(report.rows, content.rows, strict=True):
        line = " & ".join(escape(cells[index].text) for index in chosen)
        lines += [rf"    {line} \\", *([r"    \addlinespace"] if row.is_baseline else [])]
    notes = " ".join(map(escape, content.notes))
    return "\n".join(
        (
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            rf"  \par\smallskip\begin{{minipage}}{{\linewidth}}\footnotesize {notes}\end{{minipage}}",
            r"\end{table}",
        )
    )


def _header(column: Column) -> str:
    text = marked(column.short or column.header, column.look)
    return _stacked(text, NARROW, "r" if column.numeric else "c")


def _stacked(text: str, width: int, side: str) -> str:
    """In as many lines as it takes."""
    lines = list(map(escape, wrap(text, width)))
    return lines[0] if len(lines) == 1 else rf"\shortstack[{side}]{{" + r" \\ ".join(lines) + "}"
