"""The distribution of the coefficients over tokens (after the paper's Figure 12), by sublayer and stream."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcexp.analysis.figures.style import COLOURS, figure, legend, styled
from hcexp.analysis.rows import Bin

FEW = 24  # sublayers of which each is numbered
HEIGHT = 0.85  # of the distance between two sublayers


@styled
def coefficients(bins: Sequence[Bin]) -> Figure:
    """A panel each for B, A_m and every column of A_r; in it a histogram a sublayer and stream, in the stream's colour.

    Where all tokens have one value, as in static modes, it is a line. All histograms of a sublayer are equally high.
    """
    n = max(one.target for one in bins)
    sublayers = max(one.sublayer for one in bins)
    panels = [("B", None), ("A_m", None), *(("A_r", target) for target in range(1, n + 1))]
    drawn = figure(1.5 * len(panels) + 0.6, 0.9 + 0.3 * sublayers)
    grid = drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, target) in zip(grid, panels, strict=True):
        chosen = [one for one in bins if one.coefficient == name and target in (None, one.target)]
        _ridges(axes, chosen, "target" if name == "B" else "source")
        axes.set_title(f"$A_r$: into stream {target}" if target else f"${name}$")
        axes.set_xlabel("weight")
    grid[0].set_ylim(sublayers + 0.3, -0.1)
    grid[0].set_yticks(range(1, sublayers + 1, 1 if sublayers <= FEW else 4))
    grid[0].set_ylabel("sublayer")
    legend(drawn, grid[0], columns=n)
    return drawn


def _ridges(axes: Axes, bins: Sequence[Bin], stream: str) -> None:
    axes.axvline(0, color="#bbbbbb", linewidth=0.6, zorder=0)
    for sublayer in sorted({one.sublayer for one in bins}):
        axes.axhline(sublayer, color="#eeeeee", linewidth=0.6, zorder=0)
        rows = [one for one in bins if one.sublayer == sublayer]
        for number in sorted({getattr(one, stream) for one in rows}):
            histogram = [one for one in rows if getattr(one, stream) == number]
            _ridge(axes, histogram, sublayer, COLOURS[(number - 1) % len(COLOURS)], f"stream {number}")


def _ridge(axes: Axes, histogram: Sequence[Bin], sublayer: int, colour: str, label: str) -> None:
    label = label if sublayer == 1 else None
    if len(histogram) == 1:
        axes.plot([histogram[0].left] * 2, [sublayer, sublayer - HEIGHT], color=colour, linewidth=1.2, label=label)
        return
    highest = max(one.share for one in histogram)
    edges = [*(one.left for one in histogram), histogram[-1].right]
    tops = [sublayer - HEIGHT * one.share / highest for one in histogram]
    axes.stairs(tops, edges, baseline=sublayer, color=colour, fill=True, alpha=0.25)
    axes.stairs(tops, edges, baseline=sublayer, color=colour, linewidth=0.8, label=label)
