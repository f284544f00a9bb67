"""The distribution of the coefficients over tokens (after the paper's Figure 12), by sublayer and stream."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcexp.analysis.figures.style import COLOURS, figure, legend, styled

FEW = 24  # sublayers of which each is numbered
HEIGHT = 0.85  # of the distance between two sublayers


@styled
def coefficients(bins: pd.DataFrame) -> Figure:
    """A panel each for B, A_m and every column of A_r; in it a histogram a sublayer and stream, in the stream's colour.

    Where all tokens have one value, as in static modes, it is a line. All histograms of a sublayer are equally high.
    """
    n, sublayers = bins["target"].max(), bins["sublayer"].max()
    panels = [("B", None), ("A_m", None), *(("A_r", target) for target in range(1, n + 1))]
    drawn = figure(1.5 * len(panels) + 0.6, 0.9 + 0.3 * sublayers)
    grid = drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, target) in zip(grid, panels, strict=True):
        chosen = bins[(bins["coefficient"] == name) & ((bins["target"] == target) | (target is None))]
        _ridges(axes, chosen, "target" if name == "B" else "source")
        axes.set_title(f"$A_r$: into stream {target}" if target else f"${name}$")
        axes.set_xlabel("weight")
    grid[0].set_ylim(sublayers + 0.3, -0.1)
    grid[0].set_yticks(range(1, sublayers + 1, 1 if sublayers <= FEW else 4))
    grid[0].set_ylabel("sublayer")
    legend(drawn, grid[0], columns=n)
    return drawn


def _ridges(axes: Axes, bins: pd.DataFrame, stream: str) -> None:
    axes.axvline(0, color="#bbbbbb", linewidth=0.6, zorder=0)
    for sublayer in bins["sublayer"].unique():
        axes.axhline(sublayer, color="#eeeeee", linewidth=0.6, zorder=0)
    for (sublayer, number), histogram in bins.groupby(["sublayer", stream]):
        _ridge(axes, histogram, sublayer, COLOURS[(number - 1) % len(COLOURS)], f"stream {number}")


def _ridge(axes: Axes, histogram: pd.DataFrame, sublayer: int, colour: str, label: str) -> None:
    label = label if sublayer == 1 else None
    if len(histogram) == 1:
        axes.plot(
            [histogram["left"].item()] * 2, [sublayer, sublayer - HEIGHT], color=colour, linewidth=1.2, label=label
        )
        return
    edges = [*histogram["left"], histogram["right"].iloc[-1]]
    tops = sublayer - HEIGHT * histogram["share"].to_numpy() / histogram["share"].max()
    axes.stairs(tops, edges, baseline=sublayer, color=colour, fill=True, alpha=0.25)
    axes.stairs(tops, edges, baseline=sublayer, color=colour, linewidth=0.8, label=label)
