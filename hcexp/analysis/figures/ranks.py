"""How many different directions the streams hold, over depth."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from hcexp.analysis.figures.style import count_sublayers, figure, legend, look, styled


@styled
def ranks(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """The mean effective rank of a token's streams before each sublayer, and after the last."""
    drawn = figure(3.6, 2.7)
    axes = drawn.subplots()
    for index, (label, rows) in enumerate(runs.items()):
        axes.plot(rows["sublayer"], rows["effective_rank"], label=label, marker="o", markersize=2.5, **look(index))
    count_sublayers(axes, "before sublayer (the last: after all)")
    axes.set_ylabel("effective rank of a token's streams")
    axes.set_ylim(0.9, max(1.2, 1.05 * pd.concat(runs.values())["effective_rank"].max()))
    legend(drawn, axes, columns=2)
    return drawn
