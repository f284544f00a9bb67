"""The paper beside the measured: one sweep's outcomes as a table, in Markdown, LaTeX, CSV, HTML and the terminal.

`build` does the statistics; the rest only write down what it found.
"""

from hcexp.report.build import build
from hcexp.report.contents import Measure, Report, ReportRow
from hcexp.report.latex import latex
from hcexp.report.markdown import markdown
from hcexp.report.page import html
from hcexp.report.records import csv, parts_csv, runs_csv
from hcexp.report.search import SearchReport
from hcexp.report.search_write import show_search, write_search
from hcexp.report.terminal import show
from hcexp.report.write import write

__all__ = [
    "Measure",
    "Report",
    "ReportRow",
    "SearchReport",
    "build",
    "csv",
    "html",
    "latex",
    "markdown",
    "parts_csv",
    "runs_csv",
    "show",
    "show_search",
    "write",
    "write_search",
]
