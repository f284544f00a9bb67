"""How much the mixing of the streams can enlarge what passes, over depth."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from hcexp.analysis.figures.style import count_sublayers, figure, legend, look, styled


@styled
def gains(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """Forward and backward: of the product of all A_r up to a sublayer, the mean over tokens as a line and the gain of
    the averaged product as dots.
    """
    drawn = figure(6.4, 2.7)
    panels = drawn.subplots(1, 2, sharey=True)
    values = pd.concat(runs.values())[["forward", "backward"]]
    for axes, direction, sums in zip(panels, ("forward", "backward"), ("columns", "rows"), strict=True):
        for index, (label, rows) in enumerate(runs.items()):
            for of, name in (("product", label), ("mean product", None)):
                chosen = rows[rows["of"] == of]
                style = look(index) if name else {"color": look(index)["color"], "linestyle": "", "marker": "."}
                axes.plot(chosen["sublayer"], chosen[direction], label=name, **style)
        count_sublayers(axes)
        axes.set_title(f"{direction}: absolute sums of {sums}")
        if values.max().max() > 10 * max(values.min().min(), 1e-12):
            axes.set_yscale("log")
    low, high = panels[0].get_ylim()
    if panels[0].get_yscale() == "linear" and high - low < 0.1:  # or rounding would look like a course
        panels[0].set_ylim(low - 0.5, high + 0.5)
    panels[0].set_ylabel("gain of $A_r^1 \\cdots A_r^k$")
    legend(drawn, panels[0], line="mean over tokens", dots="of the averaged product")
    return drawn
