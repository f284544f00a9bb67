"""The committed sweep, drawn anew from what its runs measured, has the numbers that were committed with it."""

import csv
from dataclasses import replace
from pathlib import Path

from hcexp.configuration import shipped
from hcexp.report.report import build
from hcexp.study import load_sweep
from hcexp.study.sweep.sweep import Outcome
from tests.report.read import by_label, lines, section

FOLDER = Path(__file__).parents[2] / "results" / "2026-11-modes-tiny"
SUITE = "embedded"  # as the corpus was called then


def test_the_numbers_are_those_of_the_folder_s_own_page():
    with (FOLDER / "report-runs.csv").open(encoding="utf-8", newline="") as file:
        runs = list(csv.DictReader(file))
    outcomes = [
        Outcome(
            run["label"],
            int(run["seed"]),
            run["state"],
            Path(run["run"]),
            {name: float(value) for name, value in run.items() if "/" in name and value},
        )
        for run in runs
    ]
    sweep = replace(load_sweep("modes", shipped("sweeps")), seeds=(0, 1, 2))
    report = build(sweep, outcomes, "tiny")
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    said = {row[0]: row[1:] for row in rows}
    cells = by_label(report.main)
    for label in report.results.labels:
        row = cells[label]
        assert said[label] == [row[f"{SUITE} loss"], row[f"Δ {SUITE} loss"]]
    (planned,) = section(report, "Planned comparisons").tables
    for line in lines(planned)[: len(sweep.contrasts)]:
        found = [line["difference"], line["p"], line["p, Holm"], line["told apart"]]
        assert said[f"{line['row']} − {line['against']}"] == found
