"""The table of equal budgets as text cells, laid out once for every format."""

from collections.abc import Callable, Iterator

from hcexp.report.budgets import EQUAL, FLOPS, TIME, TOKENS, Budgets, Reading
from hcexp.report.contents import Report, ReportRow
from hcexp.report.cost_grid import measuring
from hcexp.report.grid import Cell, Column, Grid, difference_cell, percent
from hcexp.report.looks import marked
from hcexp.report.numbers import NOTHING, fixed, with_interval
from hcexp.report.setup import decay
from hcexp.report.suites import loss_name

SPEEDUP = "speedup"
AT_LEAST = "≥"
GROUPS = {equal: name.replace("equal", "Equal") for equal, name in EQUAL.items()}
GROUPS[SPEEDUP] = "Convergence"
COSTS = {FLOPS: "FLOPs a token, ratio", TIME: "time a token, ratio"}


def budgets_title(report: Report, budgets: Budgets) -> str:
    """`At equal budgets: V3 loss`, with the mark of what was not read whole."""
    return marked(f"At equal budgets: {loss_name(budgets.metric)}", report.looks.get(budgets.metric.split("/")[0]))


def budget_grid(report: Report, budgets: Budgets) -> Grid:
    """A line a row: its loss in the end, and the differences to the baseline's where both have spent the same."""
    columns, cells = [Column("", "row", numeric=False)], [[Cell(row.label)] for row in report.rows]
    for equal, readings in budgets.readings.items():
        for column, of in _columns(equal):
            columns.append(column)
            for row, line in zip(report.rows, cells, strict=True):
                line.append(of(row, readings[row.label]))
    columns.append(Column(SPEEDUP, "convergence ratio", short="ratio", essential=True))
    for row, line in zip(report.rows, cells, strict=True):
        line.append(Cell(_speedup(budgets, row)))
    return Grid(tuple(columns), tuple(map(tuple, cells)), tuple(_notes(report, budgets)), one_scale=True)


def _columns(equal: str) -> Iterator[tuple[Column, Callable[[ReportRow, Reading], Cell]]]:
    name = EQUAL[equal]
    if equal in COSTS:
        yield Column(equal, COSTS[equal], essential=True), lambda row, at: Cell(_cost(row, at))
        yield Column(equal, "read at, % of its tokens", essential=True), lambda row, at: Cell(_read(row, at))
    else:
        yield (
            Column(equal, f"loss at {name}", short="loss", essential=True),
            lambda row, at: Cell(with_interval(at.value, 3)),
        )
    yield (
        Column(equal, f"Δ at {name}", short="Δ", essential=True),
        lambda row, at: difference_cell(at.difference, len(row.finished)),
    )


def _cost(row: ReportRow, at: Reading) -> str:
    if row.is_baseline or at.cost is None:
        return NOTHING
    # What was counted, or measured once for all seeds, has no interval over them.
    return with_interval(at.cost, 3) if at.cost.deviation else fixed(at.cost.mean, 3)


def _read(row: ReportRow, at: Reading) -> str:
    if row.is_baseline or at.read is None:
        return NOTHING
    text = percent(at.read, 1, interval=False)
    # Of the two runs one has been read to its end: where it is the row's, the baseline's was read earlier.
    return text if at.baseline_read.mean == 1 else f"{text} (baseline {percent(at.baseline_read, 1, interval=False)})"


def _speedup(budgets: Budgets, row: ReportRow) -> str:
    found = budgets.speedups.get(row.label)
    if found is None:
        return NOTHING
    if found.not_reached:
        seeds = len(found.not_reached) + found.reached
        return "not reached" + (f" ({len(found.not_reached)} of {seeds})" if seeds > 1 else "")
    return f"{AT_LEAST} {with_interval(found.ratio, 2)}" if found.at_least else with_interval(found.ratio, 2)


def _notes(report: Report, budgets: Budgets) -> Iterator[str]:
    baseline, several = report.baseline.label, len(report.sweep.seeds) > 1
    yield (
        f"Each row is read where its run and that of {baseline} under the same seed have spent as much: at the lesser "
        "of what the two spent in all. A row whose tokens cost more is read before the end of its run. "
        f"Δ: row minus {baseline}, paired by seed; below 0 the row is better."
    )
    if several:
        yield "±: half width of the 95 % Student-t interval over seeds."
    if budgets.smoothed:
        yield (
            "Loss: the moving average of the training loss, for no suite was evaluated on the way. It lags behind the "
            "loss, and at equal FLOPs or time the rows have seen different batches last. Between two points of a curve "
            "it is read on the straight line."
        )
    else:
        yield (
            f"Loss: the mean {loss_name(budgets.metric)}, of at least {budgets.points} evaluations a run. Between two "
            "it is read on the straight line, which lies above a loss that falls ever more slowly, and so is a little "
            f"against what is read there. {NOTHING}: unknown, or before the first evaluation."
        )
    yield from _unfair(report, budgets)
    if FLOPS in budgets.readings:
        yield "FLOPs: forward and backward, as counted in the table of costs, without attention scores."
    if TIME in budgets.readings:
        yield _time(report, budgets)
    yield (
        f"Convergence ratio: tokens of {baseline} over those at which the row first has the final loss of {baseline}, "
        "on the same curves; above 1 the row is faster. Not reached: not in all its tokens, under so many of the seeds."
    )
    if any(found.ratio and found.at_least for found in budgets.speedups.values()):
        yield f"{AT_LEAST}: already below that loss where the row's curve begins, and so sooner, nobody knows when."


def _unfair(report: Report, budgets: Budgets) -> Iterator[str]:
    baseline = report.baseline.label
    decays = list(dict.fromkeys(filter(None, (decay(o.result.get("config") or {}) for o in report.outcomes))))
    early = [
        (label, share.mean)
        for equal, readings in budgets.readings.items()
        for row in report.rows
        for label, share in ((row.label, readings[row.label].read), (baseline, readings[row.label].baseline_read))
        if equal != TOKENS and share and share.mean < 1
    ]
    if not decays:
        return
    decay_of_all = f"the learning rate decays ({' · '.join(decays)} of its peak at the last step)"
    if early:
        label, share = min(early, key=lambda each: each[1])
        steps = next(o.result["steps"] for o in report.outcomes if o.label == label and o.state == "finished")
        yield (
            f"Not quite fair: {decay_of_all}, and before its end a run has not had all of the decay. A run as long as "
            "that budget would have had, and would end lower; so the columns of equal FLOPs and equal time are against "
            f"what is read early. The fair comparison trains a row for its share of the steps: {label} with "
            f"steps={round(share * steps)} instead of {steps}."
        )
    if budgets.speedups:
        yield (
            f"The convergence ratio is against the row: {decay_of_all}, and where the row first has the final loss of "
            f"{baseline}, which has had all of the decay, it is still before the end of its own."
        )


def _time(report: Report, budgets: Budgets) -> str:
    if budgets.interleaved:
        return (
            "Time: that of a training step, timed in turn with the baseline's; its quartiles are in the table of "
            "costs, and not in the intervals here."
        )
    return (
        "Time: that of the runs' own training steps, without validation and checkpoints. The runs were not "
        "interleaved: what else a shared machine did is in these ratios. Interleaved steps are measured with: "
        f"{measuring(report)} (and the overrides of this sweep)."
    )
