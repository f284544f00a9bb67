"""Loss on each validation set and accuracy on each task (the paper's Figures 9 and 10)."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcexp.analysis.curves import Runs, curve
from hcexp.analysis.figures.style import COLOURS, count_tokens, figure, legend, look, styled, without_start

ACROSS = 4


@styled
def parts(runs: Runs, metrics: Sequence[str]) -> Figure:
    """A panel a set or task with its curve over training; where all were measured but once, a line each with a dot a
    run.
    """
    rows = [rows for seeds in runs.values() for rows in seeds.values()]
    if all(len(curve(one, metric)) <= 1 for one in rows for metric in metrics):
        return _dots(runs, metrics)
    across = min(ACROSS, len(metrics))
    down = math.ceil(len(metrics) / across)
    drawn = figure(1.9 * across + 0.4, 1.6 * down + 0.5)
    panels = drawn.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(metrics) :]:
        axes.set_visible(False)
    for axes, metric in zip(panels, metrics, strict=False):
        _curves(axes, runs, metric)
    for axes in panels[: len(metrics)][::across]:
        axes.set_ylabel(_unit(metrics))
    legend(drawn, panels[0])
    return drawn


def _curves(axes: Axes, runs: Runs, metric: str) -> None:
    drawn = []
    for index, (label, seeds) in enumerate(runs.items()):
        for number, rows in enumerate(seeds.values()):
            if found := curve(rows, metric):
                name = label if number == 0 else None
                axes.plot(*zip(*found, strict=True), label=name, marker="o", markersize=2, **look(index))
                drawn.append(found)
    if not metric.endswith("/accuracy"):
        without_start(axes, drawn)
    count_tokens(axes)
    axes.set_title(metric.split("/")[1])


def _dots(runs: Runs, metrics: Sequence[str]) -> Figure:
    drawn = figure(4.6, 0.9 + 0.24 * len(metrics))
    axes = drawn.subplots()
    for index, (label, seeds) in enumerate(runs.items()):
        found = [
            (curve(rows, metric)[-1][1], place)
            for place, metric in enumerate(metrics)
            for rows in seeds.values()
            if curve(rows, metric)
        ]
        if found:
            axes.plot(*zip(*found, strict=True), "o", color=COLOURS[index % len(COLOURS)], label=label, markersize=4.5)
    axes.set_yticks(range(len(metrics)), [metric.split("/")[1] for metric in metrics])
    axes.set_ylim(len(metrics) - 0.5, -0.5)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(_unit(metrics))
    legend(drawn, axes, columns=2)
    return drawn


def _unit(metrics: Sequence[str]) -> str:
    return "accuracy, share of documents" if metrics[0].endswith("/accuracy") else "loss, nats a token"
