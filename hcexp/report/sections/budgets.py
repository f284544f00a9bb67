"""The table of equal budgets: the rows where they have spent what the baseline has spent."""

from collections.abc import Iterator
from functools import partial

from hcexp.analysis.convergence import summary
from hcexp.cost.rows import measuring
from hcexp.report.budgets import EQUAL, FLOPS, TIME, TOKENS, AtBudget, Budgets
from hcexp.report.looks import marked
from hcexp.report.numbers import difference, percent, with_interval
from hcexp.report.results import Results
from hcexp.report.suites import loss_name
from hcexp.run.describe import decay
from hcexp.tables.format import NOTHING, fixed
from hcexp.tables.table import Column, Entry, Table, lay_out

COSTS = {FLOPS: "FLOPs a token, ratio", TIME: "time a token, ratio"}


def budget_table(results: Results, budgets: Budgets, scale: str) -> Table:
    """A line a row: its loss in the end, and the differences to the baseline's where both have spent the same."""

    def ratio(label: str) -> str | None:
        found = budgets.convergence.get(label)
        return found and summary(label, results.baseline, budgets.metric, found).words

    title = marked(f"At equal budgets: {loss_name(budgets.metric)}", results.looks.get(budgets.metric.split("/")[0]))
    return lay_out(
        title,
        results.labels,
        [
            (Column("row", side="left"), lambda label: label),
            *(entry for equal in budgets.readings for entry in _columns(results, budgets, equal)),
            (Column("convergence ratio", "Convergence", short="ratio"), ratio),
        ],
        notes=tuple(_notes(results, budgets, scale)),
        strong=results.labels.index(results.baseline),
        one_scale=True,
    )


def _columns(results: Results, budgets: Budgets, equal: str) -> Iterator[Entry]:
    name, readings = EQUAL[equal], budgets.readings[equal]
    column = partial(Column, group=name.replace("equal", "Equal"))
    if equal in COSTS:
        yield column(COSTS[equal]), lambda label: _cost(results, label, readings[label])
        yield column("read at, % of its tokens"), lambda label: _read(results, label, readings[label])
    else:
        yield column(f"loss at {name}", short="loss"), lambda label: with_interval(readings[label].value, 3)
    yield (
        column(f"Δ at {name}", short="Δ"),
        lambda label: difference(readings[label].difference, len(results.runs(label))),
    )


def _cost(results: Results, label: str, at: AtBudget) -> str:
    if label == results.baseline or at.cost is None:
        return NOTHING
    # What was counted, or measured once for all seeds, has no interval over them.
    return with_interval(at.cost, 3) if at.cost.deviation else fixed(at.cost.mean, 3)


def _read(results: Results, label: str, at: AtBudget) -> str:
    if label == results.baseline or at.read is None:
        return NOTHING
    text = percent(at.read, 1, interval=False)
    # One of the two runs has been read to its end: where it is the row's, the baseline's was read earlier.
    return text if at.baseline_read.mean == 1 else f"{text} (baseline {percent(at.baseline_read, 1, interval=False)})"


def _notes(results: Results, budgets: Budgets, scale: str) -> Iterator[str]:
    baseline = results.baseline
    yield (
        f"Each row is read where its run and that of {baseline} under the same seed have spent as much: at the lesser "
        "of what the two spent in all. A row whose tokens cost more is read before the end of its run. "
        f"Δ: row minus {baseline}, paired by seed; below 0 the row is better."
    )
    if results.several:
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
    yield from _unfair(results, budgets)
    if FLOPS in budgets.readings:
        yield "FLOPs: forward and backward, as counted in the table of costs, without attention scores."
    if TIME in budgets.readings:
        yield _time(results, budgets, scale)
    yield (
        f"Convergence ratio: tokens of {baseline} over those at which the row first has the final loss of {baseline}, "
        "on the same curves; above 1 the row is faster. Not reached: not in all its tokens, under so many of the seeds."
    )
    if any(found.mean and found.at_least for found in budgets.convergence.values()):
        yield "≥: already below that loss where the row's curve begins, and so sooner, nobody knows when."


def _unfair(results: Results, budgets: Budgets) -> Iterator[str]:
    baseline = results.baseline
    decays = list(dict.fromkeys(filter(None, (decay(o.result.get("config") or {}) for o in results.outcomes))))
    if not decays:
        return
    decay_of_all = f"the learning rate decays ({' · '.join(decays)} of its peak at the last step)"
    early = [
        (label, share.mean)
        for equal, readings in budgets.readings.items()
        for row, at in readings.items()
        for label, share in ((row, at.read), (baseline, at.baseline_read))
        if equal != TOKENS and share and share.mean < 1
    ]
    if early:
        label, share = min(early, key=lambda each: each[1])
        steps = results.runs(label)[0].result["steps"]
        yield (
            f"Not quite fair: {decay_of_all}, and before its end a run has not had all of the decay. A run as long as "
            "that budget would have had, and would end lower; so the columns of equal FLOPs and equal time are against "
            f"what is read early. The fair comparison trains a row for its share of the steps: {label} with "
            f"steps={round(share * steps)} instead of {steps}."
        )
    if budgets.convergence:
        yield (
            f"The convergence ratio is against the row: {decay_of_all}, and where the row first has the final loss of "
            f"{baseline}, which has had all of the decay, it is still before the end of its own."
        )


def _time(results: Results, budgets: Budgets, scale: str) -> str:
    if budgets.interleaved:
        return (
            "Time: that of a training step, timed in turn with the baseline's; how far the clock can be trusted, by "
            "the quartiles in the table of costs, is in the intervals here."
        )
    return (
        "Time: that of the runs' own training steps, without validation and checkpoints. The runs were not "
        "interleaved: what else a shared machine did is in these ratios, nobody knows how much, and so Δ has no "
        f"interval. Interleaved steps are measured with: {measuring(results.sweep, scale)} (and the overrides of this "
        "sweep)."
    )
