"""What the numbers say, in sentences: the same in every format."""

from collections.abc import Mapping, Sequence

from hcexp.paper import LOSSES
from hcexp.report.contents import ReportRow
from hcexp.report.numbers import count, fixed
from hcexp.report.statistics import noise_floor, rank_correlation
from hcexp.report.suites import compared, title
from hcexp.study.sweep import Sweep

PAPER_LOSS = dict(zip(LOSSES, ("V2 loss", "V3 loss"), strict=True))
# The tables whose rows are all the 1B model; of the others the title says what was trained.
TABLES_1B = (1, 2, 3, 4)


def statements(
    sweep: Sweep, rows: Sequence[ReportRow], suites: Sequence[str], looks: Mapping[str, str]
) -> tuple[str, ...]:
    """In the order of reading: what may be compared, the noise, and then for each suite what was found.

    `looks` marks the suites, or downstream, that were not read whole.
    """
    said = [_scope(sweep), *_looks(looks), *_seeds(sweep, rows)]
    for suite in suites:
        metric = f"{suite}/mean/loss"
        name = f"{title(suite)} loss"
        said += _noise(rows, metric, name)
        said += _beyond(rows, metric, name)
        if sweep.table is not None:
            said += _signs(rows, metric, name)
            said += _order(rows, metric, name)
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


def _order(rows: Sequence[ReportRow], metric: str, name: str) -> list[str]:
    found, most = [], 0
    for column in compared(metric):
        values = [(row.measures[metric].value, row.printed.get(column)) for row in rows]
        pairs = [(value.mean, paper) for value, paper in values if value and paper is not None]
        rank = rank_correlation(pairs)
        if rank is not None:
            found.append(f"{fixed(rank, 2)} with the paper's {PAPER_LOSS[column]}")
            most = max(most, len(pairs))
    if not found:
        return []
    return [
        f"Order: Spearman's rank correlation of {name} is {', and '.join(found)}, over {most} rows. With so few "
        "rows, some closer together than the noise, read it as a hint and no more."
    ]
