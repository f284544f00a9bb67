"""From the outcomes of a sweep to a report."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from hcexp.paper import errata, printed, table
from hcexp.report.budgets import budgets
from hcexp.report.contents import Measure, Report, ReportRow
from hcexp.report.costs import costs, with_measured
from hcexp.report.curves import figures
from hcexp.report.looks import looks
from hcexp.report.matrices import matrices
from hcexp.report.parts import parts
from hcexp.report.ranking import Ranking, ranking
from hcexp.report.setup import setup, warnings
from hcexp.report.statements import statements
from hcexp.report.statistics import estimate, paired_difference, same_sign
from hcexp.report.suites import MEAN_LOSS, MEASURES, RUN_METRICS, benchmarks, compared, suites
from hcexp.study.sweep.sweep import Outcome, Sweep


def build(
    sweep: Sweep,
    outcomes: Sequence[Outcome],
    scale: str,
    command: str | None = None,
    folder: Path | None = None,
) -> Report:
    """The report of a sweep at one scale.

    A row of which some seeds failed or are missing uses those that finished. A point without an outcome
    counts as missing. `command` is the line that repeats the sweep; the default is right for a sweep of
    `sweeps/` without further overrides. If `hcexp cost --sweep` left its measurements in the report's `folder`, they
    are among its costs.

    Raises:
        ValueError: if an outcome is of no point of the sweep, or one of two for the same point.
    """
    points = _points(sweep, outcomes)
    finished = [outcome for outcome in points if outcome.state == "finished"]
    found, measured = suites(finished), benchmarks(finished)
    marks = looks(finished, measured)
    metrics = [f"{suite}/mean/{name}" for suite in found for name in MEASURES] + list(RUN_METRICS)
    values = {(row.label, name): _by_seed(finished, row.label, name) for row in sweep.rows for name in metrics}
    rows = tuple(_row(sweep, row.label, metrics, values, finished) for row in sweep.rows)
    known = costs(sweep, finished)
    known = with_measured(known, folder) if folder else known
    at_budgets = budgets(sweep, finished, known)
    rankings = tuple(_ranking(sweep, f"{suite}{MEAN_LOSS}", values) for suite in found)
    return Report(
        sweep=sweep,
        scale=scale,
        paper=None if sweep.table is None else table(sweep.table),
        errata=() if sweep.table is None else errata(sweep.table),
        suites=found,
        rows=rows,
        setup=setup(sweep, finished, measured, marks, scale),
        statements=statements(sweep, rows, found, marks, rankings, at_budgets),
        warnings=warnings(finished, values),
        unfinished=tuple(outcome for outcome in points if outcome.state != "finished"),
        outcomes=tuple(points),
        command=command or _command(sweep, scale),
        figures=figures(sweep, finished),
        costs=known,
        looks=marks,
        parts=parts(sweep, finished, measured),
        rankings=rankings,
        budgets=at_budgets,
        matrices=matrices(sweep, finished),
    )


def _points(sweep: Sweep, outcomes: Sequence[Outcome]) -> list[Outcome]:
    known: dict[tuple[str, int], Outcome] = {}
    asked = [(row.label, seed) for row in sweep.rows for seed in sweep.seeds]
    for outcome in outcomes:
        point = (outcome.label, outcome.seed)
        if point not in asked:
            raise ValueError(f"outcome {outcome.label!r}, seed {outcome.seed}: no point of sweep {sweep.name}")
        if point in known:
            raise ValueError(f"outcome {outcome.label!r}, seed {outcome.seed}: given twice")
        known[point] = outcome
    return [known.get(point) or Outcome(*point, state="missing", directory=Path()) for point in asked]


def _by_seed(finished: Sequence[Outcome], label: str, name: str) -> dict[int, float]:
    return {o.seed: o.metrics[name] for o in finished if o.label == label and o.metrics.get(name) is not None}


def _ranking(sweep: Sweep, metric: str, values: dict[tuple[str, str], dict[int, float]]) -> Ranking:
    return ranking(metric, sweep.baseline, {row.label: values[row.label, metric] for row in sweep.rows})


def _row(
    sweep: Sweep,
    label: str,
    metrics: Sequence[str],
    values: dict[tuple[str, str], dict[int, float]],
    finished: Sequence[Outcome],
) -> ReportRow:
    paper = None if sweep.table is None else printed(sweep.table, label)
    reference = None if sweep.table is None else printed(sweep.table, sweep.baseline)
    is_baseline = label == sweep.baseline
    measures = {}
    for name in metrics:
        difference = None if is_baseline else paired_difference(values[label, name], values[sweep.baseline, name])
        agrees = {}
        for column in compared(name):
            both = paper and reference and None not in (paper.row.get(column), reference.row.get(column))
            change = paper.row[column] - reference.row[column] if both else 0.0
            agrees[column] = same_sign(difference.mean, change) if difference else None
        measures[name] = Measure(estimate(list(values[label, name].values())), difference, agrees)
    return ReportRow(
        label=label,
        is_baseline=is_baseline,
        printed=paper.row if paper else {},
        printed_in=paper.table if paper else None,
        finished=tuple(outcome.seed for outcome in finished if outcome.label == label),
        asked=sweep.seeds,
        measures=measures,
    )


def _command(sweep: Sweep, scale: str) -> str:
    number = len(sweep.seeds)
    # SEEDS=3 stands for 0, 1, 2; any other choice is written out, and a comma makes a single one a list.
    seeds = str(number) if sweep.seeds == tuple(range(number)) else ",".join(map(str, sweep.seeds))
    seeds += "," if number == 1 and sweep.seeds != (0,) else ""
    return shlex.join(["make", "sweep", f"SWEEP={sweep.name}", f"SCALE={scale}", f"SEEDS={seeds}"])
