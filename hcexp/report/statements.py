"""What the numbers say, in sentences: the same in every format."""

from collections.abc import Mapping, Sequence

from hcexp.paper import LOSSES
from hcexp.report.budgets import EQUAL, Budgets
from hcexp.report.contents import ReportRow
from hcexp.report.numbers import count, fixed, probability
from hcexp.report.ranking import Ranking
from hcexp.report.statistics import noise_floor, rank_correlation
from hcexp.report.suites import compared, loss_name, title
from hcexp.study.sweep.sweep import Sweep

PAPER_LOSS = dict(zip(LOSSES, ("V2 loss", "V3 loss"), strict=True))
# The tables whose rows are all the 1B model; of the others the title says what was trained.
TABLES_1B = (1, 2, 3, 4)
# How the sentences begin that say how large the noise of the seed is, or that nobody knows.
NOISE = ("Seed noise:", "One seed:", "No row has more than one finished seed:")


def statements(
    sweep: Sweep,
    rows: Sequence[ReportRow],
    suites: Sequence[str],
    looks: Mapping[str, str],
    rankings: Sequence[Ranking],
    budgets: Sequence[Budgets],
) -> tuple[str, ...]:
    """In the order of reading: what may be compared, the noise, and then for each suite what was found.

    `looks` marks the suites, or downstream, that were not read whole; `rankings` are by the mean loss of each suite.
    """
    said = [_scope(sweep), *_looks(looks), *_seeds(sweep, rows)]
    for suite, ranking in zip(suites, rankings, strict=True):
        metric = f"{suite}/mean/loss"
        name = f"{title(suite)} loss"
        said += _noise(rows, metric, name)
        said += _beyond(rows, metric, name)
        if sweep.table is not None:
            said += _signs(rows, metric, name)
            said += _order(rows, ranking, name)
    said += [sentence for ranking in rankings for sentence in _ranking(ranking)]
    said += [sentence for each in budgets for sentence in _at_budgets(each, sweep.baseline)]
    if not suites:
        said.append("No run has a mean validation loss: nothing measured can stand beside the paper.")
    return tuple(sentence for sentence in said if sentence)


def _scope(sweep: Sweep) -> str:
    if sweep.table is None:
        return "This sweep answers no table of the paper: its rows are compared with its baseline alone."
    what = "OLMo-1B trained on 500B tokens"
    numbers = f"are {what}" if sweep.table in TABLES_1B else f"are those of its Table {sweep.table}"
    return (
        f"The paper's numbers {numbers}; the measured ones are this scale and this data. "
        "Compare signs and order, not values."
    )


def _looks(looks: Mapping[str, str]) -> list[str]:
    if not looks:
        return []
    return [f"A quick look: {'; '.join(f'{title(name)}: {mark}' for name, mark in looks.items())}."]


def _seeds(sweep: Sweep, rows: Sequence[ReportRow]) -> list[str]:
    if any(len(row.finished) > 1 for row in rows):
        return []
    why = "One seed" if len(sweep.seeds) == 1 else "No row has more than one finished seed"
    return [f"{why}: no interval can be given, and no difference be told from the noise of the seed."]


def _noise(rows: Sequence[ReportRow], metric: str, name: str) -> list[str]:
    baseline = next(row for row in rows if row.is_baseline)
    value = baseline.measures[metric].value
    if value is None:
        return [f"The baseline {baseline.label} has no {name}: no difference can be given."]
    if value.deviation is None:
        return []
    floor = fixed(noise_floor(value.deviation), 4)
    return [
        f"Seed noise: the {name} of {baseline.label} has a standard deviation of {fixed(value.deviation, 4)} over "
        f"{count(value.count, 'seed')}. The noise floor of a difference of two runs is √2 of it, {floor}; pairing "
        "by seed can go below."
    ]


def _beyond(rows: Sequence[ReportRow], metric: str, name: str) -> list[str]:
    differences = [row.measures[metric].difference for row in rows if not row.is_baseline]
    known = [each.beyond_noise for each in differences if each and each.beyond_noise is not None]
    if not known:
        return []
    return [
        f"Larger than the seed noise: {sum(known)} of {count(len(known), 'difference')} in {name} "
        f"{'has' if sum(known) == 1 else 'have'} a 95 % interval that excludes 0; where there is in truth "
        "no difference, one in twenty does too."
    ]


def _signs(rows: Sequence[ReportRow], metric: str, name: str) -> list[str]:
    found = []
    for column in compared(metric):
        known = [row.measures[metric].agrees[column] for row in rows]
        known = [each for each in known if each is not None]
        if known:
            found.append(f"{sum(known)} of {len(known)} with the paper's {PAPER_LOSS[column]}")
    if not found:
        return []
    return [f"Sign of the difference to the baseline: {name} agrees in {', and in '.join(found)}."]


def _order(rows: Sequence[ReportRow], ranking: Ranking, name: str) -> list[str]:
    """Of the same levels as the ranking, so that both speak of one order."""
    levels = {row.label: row.level for row in ranking.rows}
    found, known = [], []
    for column in compared(ranking.metric):
        printed = {row.label: row.printed.get(column) for row in rows}
        both = [(level, printed[label]) for label, level in levels.items() if printed[label] is not None]
        rank = rank_correlation(both)
        if rank is not None:
            found.append(f"{fixed(rank.rho, 2)} (p {_equals(rank.p)}) with the paper's {PAPER_LOSS[column]}")
            known.append(rank)
    if not found:
        return []
    how = "by trying every order of them" if all(rank.exact for rank in known) else "by the t approximation"
    return [
        f"Order: Spearman's rank correlation of {name} is {', and '.join(found)}, over "
        f"{max(rank.count for rank in known)} rows; p is two-sided, {how}. With so few rows, some closer together than "
        "the noise, read it as a hint and no more."
    ]


def _equals(p: float) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def _ranking(ranking: Ranking) -> list[str]:
    """The order, and which neighbours in it nothing separates."""
    if len(ranking.rows) < 2:
        return []
    *before, last = ranking.rows
    signs = ["<" if row.separated else "≈" for row in before]
    order = "".join(f"{row.label} {sign} " for row, sign in zip(before, signs, strict=True)) + last.label
    said = f"Ranking by {loss_name(ranking.metric)}, best first: {order}"
    if not ranking.tested:
        return [f"{said}; without two seeds under both of a pair, no neighbours can be told apart."]
    return [
        f"{said}, where ≈ stands between neighbours that a paired t-test at 5 % does not tell apart, corrected by Holm "
        f"for {count(ranking.tested, 'pair')}: {signs.count('≈')} of {len(signs)}."
    ]


def _at_budgets(budgets: Budgets, baseline: str) -> list[str]:
    """How many rows are better than the baseline, and how many worse, where both have spent the same."""
    counts = []
    for equal, readings in budgets.readings.items():
        known = [at.difference for at in readings.values() if at.difference and at.difference.half_width is not None]
        if known:
            better = sum(found.beyond_noise and found.mean < 0 for found in known)
            worse = sum(found.beyond_noise and found.mean > 0 for found in known)
            counts.append(f"at {EQUAL[equal]} {better} better and {worse} worse of {count(len(known), 'row')}")
    if not counts:
        return []
    name = loss_name(budgets.metric)
    return [f"Against {baseline} in {name}, beyond the noise of the seed: {', '.join(counts)}."]
