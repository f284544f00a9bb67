"""Step time of several models, measured in turn, so that what else the machine does falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch


def interleave(steps: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 2) -> dict[str, list[float]]:
    """Seconds of each of `steps` in each round, after `warmup` calls each (which compile).

    Raises ValueError unless `rounds` ≥ 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be 1 or more")
    for step in steps.values():
        for _ in range(warmup):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(_seconds(step))
    return seconds


def ratio(seconds: Sequence[float], baseline: Sequence[float]) -> float:
    """Median over rounds of a step's time over the baseline's in the same round."""
    return statistics.median(_ratios(seconds, baseline))


def ratio_quartiles(seconds: Sequence[float], baseline: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile of what `ratio` gives the median of; the ratio itself twice if it is one."""
    ratios = _ratios(seconds, baseline)
    if len(ratios) == 1:
        return ratios[0], ratios[0]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, high


def _ratios(seconds: Sequence[float], baseline: Sequence[float]) -> list[float]:
    return [s / b for s, b in zip(seconds, baseline, strict=True)]


def _seconds(step: Callable[[], object]) -> float:
    _wait()
    start = time.perf_counter()
    step()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
