"""Loss and accuracy over training (the paper's Figures 1, 5 and 6)."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcexp.analysis.curves import Runs, averages, curve, is_average, mean_metrics, spikes, together
from hcexp.analysis.figures.style import count_tokens, figure, legend, look, styled, without_start


@styled
def training(runs: Runs) -> Figure:
    """The curves of every run, by label and seed: the averaged training loss with its spikes marked, what the loss was
    before averaging in the background, and the mean loss and accuracy of what was evaluated on the way.
    """
    points = together(runs)
    metrics = [*averages(points), *mean_metrics(points)]
    drawn = figure(3.1 * max(len(metrics), 1) + 0.2, 2.8)
    panels = drawn.subplots(1, max(len(metrics), 1), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=False):
        _panel(axes, runs, metric)
    legend(drawn, panels[0])
    return drawn


def _panel(axes: Axes, runs: Runs, metric: str) -> None:
    curves = []
    average = is_average(metric)
    for index, (label, seeds) in enumerate(runs.items()):
        alpha = 1.0 if len(seeds) == 1 else 0.7
        for number, rows in enumerate(seeds.values()):
            found = curve(rows, metric)
            if not found:
                continue
            name = label if number == 0 else None
            marker = {} if average else {"marker": "o", "markersize": 2.5}
            axes.plot(*zip(*found, strict=True), label=name, alpha=alpha, **marker, **look(index))
            curves.append(found)
            if average:
                raw = curve(rows, "train/loss")
                axes.plot(*zip(*raw, strict=True), color=look(index)["color"], alpha=0.25, linewidth=0.6, zorder=1)
                _spikes(axes, rows, look(index)["color"], raw)
    share = metric.endswith("/accuracy")
    if not share:
        without_start(axes, curves)
    count_tokens(axes)
    axes.set_title(_title(metric))
    axes.set_ylabel("accuracy, share of documents" if share else "loss, nats a token")


def _spikes(axes: Axes, rows: pd.DataFrame, colour: str, raw: Sequence[tuple[int, float]]) -> None:
    values = dict(raw)
    at = [tokens for tokens in spikes(rows) if tokens in values]
    axes.plot(
        at,
        [values[tokens] for tokens in at],
        "v",
        color=colour,
        markersize=4,
        markeredgecolor="white",
        markeredgewidth=0.4,
    )


def _title(metric: str) -> str:
    if is_average(metric):
        return f"training, average of decay 0.{metric.removeprefix('train/loss_ema')}"
    benchmark, name, _ = metric.split("/")
    return f"{benchmark}, {name}"
