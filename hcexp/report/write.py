"""The report into a folder, in all its formats."""

from pathlib import Path

from hcexp.disk.atomic import write_text
from hcexp.report.contents import Report
from hcexp.report.latex import latex
from hcexp.report.markdown import markdown
from hcexp.report.page import html
from hcexp.report.records import csv, parts_csv, runs_csv

RUNS, SETS = "report-runs.csv", "report-sets.csv"


def write(report: Report, folder: Path) -> list[Path]:
    """`report.md`, `report.csv`, `report.html` and `report.tex`; if a run has finished, `report-runs.csv`; and if
    something was evaluated, `report-sets.csv`: in `folder`, which is made if need be; their paths.
    """
    folder = Path(folder)
    texts = {
        "report.md": markdown(report),
        "report.csv": csv(report),
        "report.html": html(report),
        "report.tex": latex(report),
    }
    if any(row.finished for row in report.rows):
        texts[RUNS] = runs_csv(report)
    if report.parts:
        texts[SETS] = parts_csv(report)
    for name in {RUNS, SETS} - texts.keys():
        (folder / name).unlink(missing_ok=True)  # of an earlier report
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
