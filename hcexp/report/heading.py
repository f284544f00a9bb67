"""The line below the title: which table, which scale, which suites, how many seeds."""

from hcexp.report.contents import Report
from hcexp.report.looks import marked
from hcexp.report.numbers import count
from hcexp.report.suites import title


def subtitle(report: Report) -> str:
    table = report.sweep.table
    asked = "no table of the paper" if table is None else f"Table {table} of the paper"
    suites = (
        ", ".join(marked(f"{title(suite)} suite", report.looks.get(suite)) for suite in report.suites)
        or "no suite evaluated"
    )
    parts = (f"sweep {report.sweep.name}", asked, f"scale {report.scale}", suites)
    return " · ".join((*parts, count(len(report.sweep.seeds), "seed")))
