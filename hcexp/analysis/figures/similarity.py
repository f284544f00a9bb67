"""Cosine similarity between the inputs of adjacent layers (the paper's Figure 3)."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from hcexp.analysis.figures.style import count_sublayers, figure, legend, look, styled


@styled
def similarity(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """The median over tokens with a band from 5 to 95 %, between sublayers and between blocks."""
    every = pd.concat(runs.values())
    present = [kind for kind in ("sublayer", "block") if (every["between"] == kind).any()]
    drawn = figure(3.1 * max(1, len(present)) + 0.2, 2.7)
    panels = drawn.subplots(1, max(1, len(present)), squeeze=False, sharey=True)[0]
    for axes, between in zip(panels, present, strict=False):
        for index, (label, rows) in enumerate(runs.items()):
            chosen = rows[rows["between"] == between]
            at = chosen["layer"] + 1
            axes.plot(at, chosen["median"], label=label, marker="o", markersize=2.5, **look(index))
            axes.fill_between(at, chosen["low"], chosen["high"], color=look(index)["color"], alpha=0.15, linewidth=0)
        count_sublayers(axes, f"{between}, compared with the one before")
        axes.set_title(f"adjacent {between}s")
    panels[0].set_ylim(min(0, every["low"].min()) - 0.03, 1.03)
    panels[0].set_ylabel("cosine similarity of their inputs")
    legend(drawn, panels[0])
    return drawn
