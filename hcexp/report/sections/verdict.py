"""The verdict: how much sooner, on the clock, a row has the baseline's loss, at every scale that was swept."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from hcexp.analysis.statistics import Estimate
from hcexp.report.budgets import Budgets
from hcexp.report.numbers import with_interval
from hcexp.report.results import Results
from hcexp.report.suites import loss_name
from hcexp.tables.table import Column, Table, lay_out

EFFECTIVE = "effective speedup"
SCALES = 2  # above 1 at so many, a row is adopted


def verdict_table(results: Results, budgets: Budgets, scale: str, folder: Path | None) -> Table | None:
    """The effective speedup of each row at this scale and at those whose reports lie beside this one's `folder`.

    None where no step was timed in turn at any of them.
    """
    scales = ({scale: budgets.effective} if budgets.interleaved else {}) | (
        _elsewhere(results, budgets.metric, scale, folder) if folder else {}
    )
    if not scales:
        return None
    others = [label for label in results.labels if label != results.baseline]
    columns = [
        (Column(other, "Scale"), lambda label, at=found: with_interval(at.get(label), 2))
        for other, found in scales.items()
    ]
    baseline, name = results.baseline, loss_name(budgets.metric)
    note = (
        f"Effective speedup: tokens of {baseline} over those at which the row first has its final {name}, times the "
        f"row's throughput over that of {baseline}, of training steps timed in turn; above 1 the row has that loss "
        "sooner. ±: half width of the 95 % interval, over seeds and by the clock. Adopted: the interval lies above 1 "
        f"at {SCALES} scales or more; one scale decides nothing."
    )
    return lay_out(
        f"Verdict: effective speedup by {name}",
        others,
        [
            (Column("row", side="left"), lambda label: label),
            *columns,
            (Column("verdict", side="left"), lambda label: _verdict([at.get(label) for at in scales.values()])),
        ],
        notes=(note,),
    )


def _verdict(found: list[Estimate | None]) -> str:
    known = [each for each in found if each and each.half_width is not None and math.isfinite(each.mean)]
    if sum(each.mean - each.half_width > 1 for each in known) >= SCALES:
        return "adopted"
    return "not adopted" if len(known) >= SCALES else f"needs {SCALES} scales"


def _elsewhere(results: Results, metric: str, scale: str, folder: Path) -> dict[str, Mapping[str, Estimate]]:
    """The same from the reports of the sweep at other scales, tuned ones beside tuned ones."""
    name, tuned = results.sweep.name, "-tuned" if results.sweep.tuning else ""
    found = {}
    for path in sorted(folder.parent.glob(f"{name}-*{tuned}/report.csv")):
        other = path.parent.name.removeprefix(f"{name}-").removesuffix(tuned)
        if other == scale or other.endswith("-tuned"):
            continue
        with path.open(encoding="utf-8", newline="") as file:
            lines = [line for line in csv.DictReader(file) if line.get("quantity") == f"{metric} {EFFECTIVE}"]
        values = {line["row"]: _estimate(line) for line in lines if line.get("value")}
        if values:
            found[other] = values
    return found


def _estimate(line: Mapping[str, str]) -> Estimate:
    half = float(line["half width"]) if line["half width"] else None
    return Estimate(float(line["value"]), half, None, int(line["seeds"]))
