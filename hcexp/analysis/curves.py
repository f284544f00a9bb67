"""Curves among the points that a run recorded: a frame, a line a point, with the columns of `history.Point`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

Runs = Mapping[str, Mapping[int, pd.DataFrame]]  # points by label and seed


def together(runs: Runs) -> pd.DataFrame:
    """The points of all of them."""
    return pd.concat([points for seeds in runs.values() for points in seeds.values()])


def curve(points: pd.DataFrame, metric: str) -> list[tuple[int, float]]:
    """(tokens, value) of a metric, in the order of training, where it is finite."""
    chosen = points[(points["metric"] == metric) & np.isfinite(points["value"].astype(float))]
    return list(zip(chosen["tokens"].tolist(), chosen["value"].tolist(), strict=True))


def is_average(metric: str) -> bool:
    """Whether it is the training loss as a moving average, as `train/loss_ema99`."""
    return metric.startswith("train/loss_ema")


def averages(points: pd.DataFrame) -> list[str]:
    """The moving averages of the training loss, by their names."""
    return sorted(filter(is_average, points["metric"].unique()))


def spikes(points: pd.DataFrame) -> list[int]:
    """Tokens at the points of the training loss before which a spike was counted since the one before.

    A run counts its spikes at every step, and records the count with every point of its curves.
    """
    counts = curve(points, "train/spikes")
    return [tokens for (_, before), (tokens, now) in zip([(0, 0.0), *counts], counts, strict=False) if now > before]


def mean_metrics(points: pd.DataFrame) -> list[str]:
    """The mean loss of every suite and the mean accuracy of the tasks, if they were measured more than once."""
    evaluated = points[~points["metric"].str.startswith("train/")].groupby("metric", sort=False)["step"].nunique()
    return [metric for metric, steps in evaluated.items() if steps > 1 and metric.split("/")[1] == "mean"]


def part_metrics(points: pd.DataFrame) -> list[str]:
    """The loss of every set and the accuracy of every task, however often they were measured."""
    names = points["metric"].unique()
    return [name for name in names if not name.startswith("train/") and name.split("/")[1] != "mean"]
