"""How much the mixing of the streams can enlarge what passes, over depth."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from hcexp.analysis.figures.style import count_sublayers, figure, legend, look, styled
from hcexp.analysis.rows import Gain


@styled
def gains(runs: Mapping[str, Sequence[Gain]]) -> Figure:
    """Forward and backward: of the product of all A_r up to a sublayer, the mean over tokens as a line and the gain of
    the averaged product as dots.
    """
    drawn = figure(6.4, 2.7)
    panels = drawn.subplots(1, 2, sharey=True)
    values = [value for rows in runs.values() for row in rows for value in (row.forward, row.backward)]
    for axes, direction, sums in zip(panels, ("forward", "backward"), ("columns", "rows"), strict=True):
        for index, (label, rows) in enumerate(runs.items()):
            for of, name in (("product", label), ("mean product", None)):
                chosen = [row for row in rows if row.of == of]
                style = look(index) if name else {"color": look(index)["color"], "linestyle": "", "marker": "."}
                axes.plot(
                    [row.sublayer for row in chosen], [getattr(row, direction) for row in chosen], label=name, **style
                )
        count_sublayers(axes)
        axes.set_title(f"{direction}: absolute sums of {sums}")
        if max(values) > 10 * max(min(values), 1e-12):
            axes.set_yscale("log")
    low, high = panels[0].get_ylim()
    if panels[0].get_yscale() == "linear" and high - low < 0.1:  # or rounding would look like a course
        panels[0].set_ylim(low - 0.5, high + 0.5)
    panels[0].set_ylabel("gain of $A_r^1 \\cdots A_r^k$")
    legend(drawn, panels[0], line="mean over tokens", dots="of the averaged product")
    return drawn
