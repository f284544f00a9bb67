"""The report into a folder, in all its formats."""

import os
from pathlib import Path

from hcexp.report.contents import Report
from hcexp.report.latex import latex
from hcexp.report.markdown import markdown
from hcexp.report.page import html
from hcexp.report.records import csv, parts_csv

SETS = "report-sets.csv"


def write(report: Report, folder: Path) -> list[Path]:
    """`report.md`, `report.csv`, `report.html`, `report.tex` and, if something was evaluated, `report-sets.csv` in
    `folder`, which is made if need be; their paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    texts = {
        "report.md": markdown(report),
        "report.csv": csv(report),
        "report.html": html(report),
        "report.tex": latex(report),
    }
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
