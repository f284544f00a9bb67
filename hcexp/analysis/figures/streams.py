"""Which streams the sublayers read, and into which they write."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hcexp.analysis.figures.style import count_sublayers, figure, styled


@styled
def streams(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """A row a run: each stream's share of the absolute weights, in reads and in writes, by sublayer."""
    heights = [1 + rows["stream"].max() for rows in runs.values()]
    drawn = figure(6.6, 0.8 + 0.22 * sum(heights))
    grid = drawn.subplots(len(runs), 2, squeeze=False, sharex=True, height_ratios=heights)
    for line, (label, rows) in zip(grid, runs.items(), strict=True):
        sublayers, count = rows["sublayer"].max(), rows["stream"].max()
        for axes, column, title in zip(line, ("read", "written"), ("read ($A_m$)", "written ($B$)"), strict=True):
            share = rows.pivot(index="stream", columns="sublayer", values=column)
            image = axes.imshow(
                share, cmap="cividis", vmin=0, vmax=1, aspect="auto", extent=(0.5, sublayers + 0.5, count + 0.5, 0.5)
            )
            axes.set_yticks(range(1, count + 1))
            if label == next(iter(runs)):
                axes.set_title(title)
        line[0].set_ylabel(f"{label}\nstream")
    for axes in grid[-1]:
        count_sublayers(axes)
    drawn.colorbar(image, ax=grid, label="share", format=PercentFormatter(1), pad=0.01)
    return drawn
