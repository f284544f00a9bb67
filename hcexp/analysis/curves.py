"""Curves among the points that a run recorded."""

import math
from collections.abc import Sequence

from hcexp.run.history import Point


def curve(points: Sequence[Point], metric: str) -> list[tuple[int, float]]:
    """(tokens, value) of a metric, in the order of training, where it is finite."""
    return [(point.tokens, point.value) for point in points if point.metric == metric and math.isfinite(point.value)]


def is_average(metric: str) -> bool:
    """Whether it is the training loss as a moving average, as `train/loss_ema99`."""
    return metric.startswith("train/loss_ema")


def spikes(points: Sequence[Point]) -> list[int]:
    """Tokens at the points of the training loss before which a spike was counted since the one before.

    A run counts its spikes at every step, and records the count with every point of its curves.
    """
    counts = curve(points, "train/spikes")
    return [tokens for (_, before), (tokens, now) in zip([(0, 0.0), *counts], counts, strict=False) if now > before]


def mean_metrics(points: Sequence[Point]) -> list[str]:
    """The mean loss of every suite and the mean accuracy of the tasks, if they were measured more than once."""
    return [metric for metric in _evaluated(points) if metric.split("/")[1] == "mean"]


def part_metrics(points: Sequence[Point]) -> list[str]:
    """The loss of every set and the accuracy of every task, however often they were measured."""
    names = dict.fromkeys(point.metric for point in points)
    return [name for name in names if not name.startswith("train/") and name.split("/")[1] != "mean"]


def _evaluated(points: Sequence[Point]) -> list[str]:
    steps: dict[str, set[int]] = {}
    for point in points:
        if not point.metric.startswith("train/"):
            steps.setdefault(point.metric, set()).add(point.step)
    return [metric for metric, at in steps.items() if len(at) > 1]
