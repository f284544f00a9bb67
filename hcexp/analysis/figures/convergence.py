"""How much sooner the variants are where the baseline ends."""

from collections.abc import Sequence
from textwrap import fill

from matplotlib.figure import Figure

from hcexp.analysis.convergence import Ratio, Summary
from hcexp.analysis.figures.style import figure, look, styled

WIDTH = 95  # letters of a line below the figure


@styled
def convergence(ratios: Sequence[Ratio], summaries: Sequence[Summary], caveat: str = "") -> Figure:
    """A line a variant and loss: a dot a seed, their mean with its 95 % interval; the baseline is at 1.

    A lower bound is a triangle that points to where the ratio is. `caveat` is a sentence that stands below.
    """
    drawn = figure(5.2, 0.9 + 0.36 * len(summaries) + 0.4 * bool(caveat))
    axes = drawn.subplots()
    axes.axvline(1, color="#999999", linewidth=0.8, zorder=0)
    variants = list(dict.fromkeys(one.variant for one in summaries))
    for place, one in enumerate(summaries):
        colour = look(1 + variants.index(one.variant))["color"]  # as where the baseline is drawn before them
        own = [r for r in ratios if (r.variant, r.metric) == (one.variant, one.metric)]
        for values, marker in (([r.ratio for r in own], "o"), ([r.at_least for r in own], ">")):
            found = [value for value in values if value is not None]
            axes.plot(found, [place] * len(found), marker, color=colour, markersize=3.5, alpha=0.5)
        if one.ratio is not None:
            axes.errorbar(one.ratio, place, xerr=one.half_width, fmt="D", color=colour, markersize=4, capsize=3)
        axes.annotate(one.words, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=7.5)
    axes.set_yticks(range(len(summaries)), [f"{one.variant}\n{one.metric}" for one in summaries])
    axes.set_ylim(len(summaries) - 0.5, -0.5)
    axes.margins(x=0.15)
    baseline = summaries[0].baseline
    axes.set_xlabel(f"convergence ratio: tokens of {baseline}\nover tokens at which its final loss is reached")
    if caveat:
        drawn.supxlabel(fill(caveat, WIDTH), fontsize=7, color="#444444")
    return drawn
