"""The report into a folder, in three formats."""

import os
from dataclasses import replace
from pathlib import Path

from hcexp.report.contents import Report
from hcexp.report.costs import with_measured
from hcexp.report.markdown import markdown
from hcexp.report.page import html
from hcexp.report.records import csv, parts_csv

SETS = "report-sets.csv"


def write(report: Report, folder: Path) -> list[Path]:
    """`report.md`, `report.csv`, `report.html` and, if something was evaluated, `report-sets.csv` in `folder`, which is
    made if need be; their paths.

    If `hcexp cost --sweep` left its measurements there, they join the report's costs.
    """
    folder = Path(folder)
    report = replace(report, costs=with_measured(report.costs, folder))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    texts = {"report.md": markdown(report), "report.csv": csv(report), "report.html": html(report)}
    if report.parts:
        texts[SETS] = parts_csv(report)
    else:
        (folder / SETS).unlink(missing_ok=True)  # of an earlier report
    for name, text in texts.items():
        path = folder / name
        # A reader, or a second writer, never finds half a report.
        half = path.with_suffix(f"{path.suffix}.{os.getpid()}")
        half.write_text(text, encoding="utf-8", newline="\n")
        half.replace(path)
        paths.append(path)
    return paths
