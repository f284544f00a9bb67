"""What the numbers say, in sentences: the same in every format."""

from collections.abc import Iterator, Sequence

from hcexp.analysis.statistics import Estimate, noise_floor, rank_correlation
from hcexp.report.budgets import EQUAL, TIME, Budgets
from hcexp.report.contrasts import contrasts, order
from hcexp.report.numbers import probability
from hcexp.report.results import Results
from hcexp.report.suites import MEAN_LOSS, PAPER_LOSS, compared, loss_name, title
from hcexp.study.sweep.sweep import Sweep
from hcexp.tables.format import count, fixed

# The tables whose rows are all the 1B model; of the others the title says what was trained.
TABLES_1B = (1, 2, 3, 4)


def answer(results: Results, budgets: Sequence[Budgets]) -> tuple[str, ...]:
    """What a reader wants first: which rows are better than the baseline, and which worse, by name."""
    said = [sentence for each in budgets for sentence in _at_budgets(results, each)]
    metrics = [f"{suite}{MEAN_LOSS}" for suite in results.suites]
    known = {each.metric for each in budgets}
    return tuple([s for metric in metrics if metric not in known for s in _at_the_end(results, metric)] + said)


def findings(results: Results) -> tuple[str, ...]:
    """In the order of reading: what may be compared, the noise, and then for each suite what was found."""
    said = [_scope(results.sweep), *_looks(results), *noise(results)]
    for suite in results.suites:
        metric, name = f"{suite}{MEAN_LOSS}", f"{title(suite)} loss"
        said += _beyond(results, metric, name)
        if results.paper:
            said += _signs(results, metric, name)
            said += _rank_correlation(results, metric, name)
        said += _order(results, metric, name)
        said += _planned(results, metric, name)
    if not results.suites:
        said.append("No run has a mean validation loss: nothing measured can stand beside the paper.")
    return tuple(said)


def noise(results: Results) -> Iterator[str]:
    """How large the noise of the seed is, or that nobody knows."""
    if not any(len(results.runs(label)) > 1 for label in results.labels):
        why = "No row has more than one finished seed" if results.several else "One seed"
        yield f"{why}: no interval can be given, and no difference be told from the noise of the seed."
    for suite in results.suites:
        name, value = f"{title(suite)} loss", results.mean(results.baseline, f"{suite}{MEAN_LOSS}")
        if value is None:
            yield f"The baseline {results.baseline} has no {name}: no difference can be given."
        elif value.deviation is not None:
            yield (
                f"Seed noise: the {name} of {results.baseline} has a standard deviation of {fixed(value.deviation, 4)} "
                f"over {count(value.count, 'seed')}. The noise floor of a difference of two runs is √2 of it, "
                f"{fixed(noise_floor(value.deviation), 4)}; pairing by seed can go below."
            )


def _scope(sweep: Sweep) -> str:
    if sweep.table is None:
        return "This sweep answers no table of the paper: its rows are compared with its baseline alone."
    what = "OLMo-1B trained on 500B tokens"
    numbers = f"are {what}" if sweep.table in TABLES_1B else f"are those of its Table {sweep.table}"
    return (
        f"The paper's numbers {numbers}; the measured ones are this scale and this data. "
        "Compare signs and order, not values."
    )


def _looks(results: Results) -> Iterator[str]:
    if results.looks:
        yield f"A quick look: {'; '.join(f'{title(name)}: {mark}' for name, mark in results.looks.items())}."


def _beyond(results: Results, metric: str, name: str) -> Iterator[str]:
    differences = [results.difference(label, metric) for label in results.labels]
    known = [each.beyond_noise for each in differences if each and each.beyond_noise is not None]
    if known:
        yield (
            f"Larger than the seed noise: {sum(known)} of {count(len(known), 'difference')} in {name} "
            f"{'has' if sum(known) == 1 else 'have'} a 95 % interval that excludes 0; where there is in truth "
            "no difference, one in twenty does too."
        )


def _signs(results: Results, metric: str, name: str) -> Iterator[str]:
    found = []
    for column in compared(metric):
        agree = [results.agrees(label, metric, column) for label in results.labels]
        known = [each for each in agree if each is not None]
        if known:
            found.append(f"{sum(known)} of {len(known)} with the paper's {PAPER_LOSS[column]}")
    if found:
        yield f"Sign of the difference to the baseline: {name} agrees in {', and in '.join(found)}."


def _rank_correlation(results: Results, metric: str, name: str) -> Iterator[str]:
    """Over the levels that make the order, so that both speak of one."""
    found, known = [], []
    for column in compared(metric):
        printed = {label: results.printed(label, column) for label in results.labels}
        levels = order(results, metric).items()
        rank = rank_correlation([(level, printed[label]) for label, level in levels if printed[label] is not None])
        if rank is not None:
            p = probability(rank.p)
            p = p if p.startswith("<") else f"= {p}"
            found.append(f"{fixed(rank.rho, 2)} (p {p}) with the paper's {PAPER_LOSS[column]}")
            known.append(rank)
    if found:
        how = "by trying every order of them" if all(rank.exact for rank in known) else "by the t approximation"
        yield (
            f"Order: Spearman's rank correlation of {name} is {', and '.join(found)}, over "
            f"{max(rank.count for rank in known)} rows; p is two-sided, {how}. With so few rows, some closer together "
            "than the noise, read it as a hint and no more."
        )


def _order(results: Results, metric: str, name: str) -> Iterator[str]:
    rows = list(order(results, metric))
    if len(rows) > 1:
        yield f"Order of the rows by {name}, the lowest first: {'; '.join(rows)}. Rows side by side need not differ."


def _planned(results: Results, metric: str, name: str) -> Iterator[str]:
    """Which of the planned comparisons are told apart, after the correction."""
    tested = [one for one in contrasts(results, metric) if one.told_apart is not None]
    if tested:
        apart = [
            f"{one.row} {'<' if one.difference.mean < 0 else '>'} {one.against}" for one in tested if one.told_apart
        ]
        which = f": {'; '.join(apart)}" if apart else ""
        yield (
            f"Planned comparisons by {name}, paired t-tests corrected together by Holm: {len(apart)} of {len(tested)} "
            f"told apart at 5 %{which}."
        )


def _sides(results: Results, found: dict[str, Estimate | None]) -> str:
    """`Better: SHC; DHC. Not told apart: AltUp. Worse: Post-Norm.`: the rows by name, where there are intervals."""
    sides: dict[str, list[str]] = {"Better": [], "Not told apart": [], "Worse": []}
    for label, each in found.items():
        if each and each.half_width is not None:
            sides["Not told apart" if not each.beyond_noise else "Better" if each.mean < 0 else "Worse"].append(label)
    return " ".join(f"{side}: {'; '.join(labels)}." for side, labels in sides.items() if labels)


def _at_the_end(results: Results, metric: str) -> Iterator[str]:
    if sides := _sides(results, {label: results.difference(label, metric) for label in results.labels}):
        yield f"{loss_name(metric)[0].upper()}{loss_name(metric)[1:]} against {results.baseline}. {sides}"


def _at_budgets(results: Results, budgets: Budgets) -> Iterator[str]:
    name = loss_name(budgets.metric)
    if not budgets.decides:
        yield (
            "At equal training FLOPs and at equal time nothing can be said: no suite was evaluated on the way "
            f"(evaluation.every=…), and the average of the training loss spans {100 * budgets.span:.0f} % of a run."
        )
        return
    for equal, readings in budgets.readings.items():
        sides = _sides(results, {label: at.difference for label, at in readings.items()})
        if sides:
            yield f"At {EQUAL[equal]}, {name} against {results.baseline}. {sides}"
        elif equal == TIME and not budgets.interleaved and any(at.difference for at in readings.values()):
            yield f"At {EQUAL[equal]} nothing can be said: the steps of these runs were not timed in turn."
