"""How the numbers of a report are written; – for what was not measured."""

from hcexp.analysis.statistics import Estimate
from hcexp.tables.format import NOTHING, fixed
from hcexp.tables.table import Cell


def with_interval(estimate: Estimate | None, decimals: int, signed: bool = False) -> str:
    """`2.811 ± 0.003`; the bare value without an interval; – of nothing."""
    if estimate is None:
        return NOTHING
    text = fixed(estimate.mean, decimals, signed)
    return text if estimate.half_width is None else f"{text} ± {fixed(estimate.half_width, decimals)}"


def percent(share: Estimate | None, decimals: int, signed: bool = False, interval: bool = True) -> str:
    """A share, or a difference of shares, times 100."""
    if share is None:
        return NOTHING
    half = 100 * share.half_width if interval and share.half_width is not None else None
    return with_interval(Estimate(100 * share.mean, half, None, share.count), decimals, signed)


def difference(found: Estimate | None, finished: int) -> Cell:
    """A difference of losses, to be drawn; it says so if fewer seeds are paired than have `finished`."""
    text = with_interval(found, 3, signed=True)
    if found and found.count < finished:
        text += f" ({found.count} of {finished} paired)"
    return Cell(text, found)


def as_printed(value: float | bool | str | None, column: str) -> str:
    """A number of the paper, with the decimals of its column: what JSON dropped is put back."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if column.endswith(("_loss", "_ppl")):
        return f"{value:.3f}"
    return f"{value:.1f}" if column == "downstream_accuracy" else f"{value:,}"


def probability(p: float | None) -> str:
    """A p-value: `0.012`, `< 0.001`; – of nothing."""
    return NOTHING if p is None else "< 0.001" if p < 0.001 else fixed(p, 3)


def verdict(value: bool | None) -> str:
    return NOTHING if value is None else "✓" if value else "✗"


def yes_no(value: bool | None) -> str:
    return NOTHING if value is None else "yes" if value else "no"
