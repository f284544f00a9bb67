"""Gradient norms by layer, at the weights of the start and of a checkpoint, and while a run trained."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from hcexp.analysis.curves import curve
from hcexp.analysis.figures.style import count_sublayers, count_tokens, figure, legend, look, styled

PREFIX = "train/grad_norm/"
GROUPS = {"block": "blocks", "connections": "residual connections"}


@styled
def gradients(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """By block, and for the connections around each: at the checkpoint a line, at the initial weights dots."""
    layers = pd.concat(runs.values())["layer"]
    present = [group for group in GROUPS if layers.str.startswith(f"{group}_").any()]
    drawn = figure(3.1 * len(present) + 0.2, 2.7)
    panels = drawn.subplots(1, len(present), squeeze=False)[0]
    for axes, group in zip(panels, present, strict=True):
        for index, (label, rows) in enumerate(runs.items()):
            for at, name in (("checkpoint", label), ("initial", None)):
                chosen = rows[(rows["at"] == at) & rows["layer"].str.startswith(group)]
                style = look(index) if name else {"color": look(index)["color"], "linestyle": "", "marker": "."}
                if (chosen["norm"] > 0).any():
                    axes.plot(chosen["layer"].map(_number), chosen["norm"], label=name, **style)
        axes.set_yscale("log")
        count_sublayers(axes, "block")
        axes.set_title(GROUPS[group])
    panels[0].set_ylabel("gradient norm")
    legend(drawn, panels[0], line="at the checkpoint", dots="at the initial weights")
    return drawn


@styled
def gradients_in_training(points: pd.DataFrame) -> Figure:
    """Of one run, before clipping: a line a block, dark for the first and bright for the last."""
    metrics = [metric for metric in points["metric"].unique() if metric.startswith(PREFIX)]
    present = [group for group in GROUPS if any(m.startswith(f"{PREFIX}{group}_") for m in metrics)]
    colours = _colours(max(_number(metric) for metric in metrics if metric[-1].isdigit()))
    drawn = figure(3.1 * len(present) + 0.7, 2.7)
    panels = drawn.subplots(1, len(present), squeeze=False)[0]
    for axes, group in zip(panels, present, strict=True):
        chosen = [metric for metric in metrics if metric.startswith(f"{PREFIX}{group}_")]
        _by_depth(axes, points, chosen, colours)
        axes.set_title(GROUPS[group])
    panels[0].set_ylabel("gradient norm")
    bar = drawn.colorbar(colours, ax=panels, label="block", pad=0.01)
    bar.locator = matplotlib.ticker.MaxNLocator(5, integer=True)
    return drawn


def _colours(blocks: int) -> ScalarMappable:
    """Of the blocks, without the brightest yellow, which is faint on white."""
    shades = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.92, 256)))
    return ScalarMappable(Normalize(1, max(blocks, 2)), shades)


def _by_depth(axes: Axes, points: pd.DataFrame, metrics: Sequence[str], colours: ScalarMappable) -> None:
    for metric in metrics:
        colour = colours.to_rgba(_number(metric))
        axes.plot(*zip(*curve(points, metric), strict=True), color=colour, linewidth=1, marker=".")
    axes.set_yscale("log")
    count_tokens(axes)


def _number(layer: str) -> int:
    return int(layer.rpartition("_")[2])
