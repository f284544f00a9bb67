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
    return statistics.median(s / b for s, b in zip(seconds, baseline, strict=True))


def _seconds(step: Callable[[], object]) -> float:
    _wait()
    start = time.perf_counter()
    step()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
