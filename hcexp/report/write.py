"""The report into a folder, in three formats."""

import os
from pathlib import Path

from hcexp.report.contents import Report
from hcexp.report.markdown import markdown
from hcexp.report.page import html
from hcexp.report.records import csv


def write(report: Report, folder: Path) -> list[Path]:
    """`report.md`, `report.csv` and `report.html` in `folder`, which is made if need be; their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in (("md", markdown(report)), ("csv", csv(report)), ("html", html(report))):
        path = folder / f"report.{name}"
        # A reader, or a second writer, never finds half a report.
        half = path.with_suffix(f".{name}.{os.getpid()}")
        half.write_text(text, encoding="utf-8", newline="\n")
        half.replace(path)
        paths.append(path)
    return paths
