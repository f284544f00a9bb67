"""How much sooner the variants are where the baseline ends."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from hcexp.analysis.figures.style import figure, look, styled
from hcexp.analysis.rows import Ratio, Summary


@styled
def convergence(ratios: Sequence[Ratio], summaries: Sequence[Summary]) -> Figure:
    """A line a variant and loss: a dot a seed, their mean with its 95 % interval; the baseline is at 1."""
    drawn = figure(5.2, 0.9 + 0.36 * len(summaries))
    axes = drawn.subplots()
    axes.axvline(1, color="#999999", linewidth=0.8, zorder=0)
    variants = list(dict.fromkeys(one.variant for one in summaries))
    for place, one in enumerate(summaries):
        colour = look(1 + variants.index(one.variant))["color"]  # as where the baseline is drawn before them
        key = one.variant, one.metric
        reached = [r.ratio for r in ratios if (r.variant, r.metric) == key and r.ratio is not None]
        axes.plot(reached, [place] * len(reached), "o", color=colour, markersize=3.5, alpha=0.5)
        if one.ratio is not None:
            axes.errorbar(one.ratio, place, xerr=one.half_width, fmt="D", color=colour, markersize=4, capsize=3)
        axes.annotate(_words(one), (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=7.5)
    axes.set_yticks(range(len(summaries)), [f"{one.variant}\n{one.metric}" for one in summaries])
    axes.set_ylim(len(summaries) - 0.5, -0.5)
    axes.margins(x=0.15)
    baseline = summaries[0].baseline
    axes.set_xlabel(f"convergence ratio: tokens of {baseline}\nover tokens at which its final loss is reached")
    return drawn


def _words(one: Summary) -> str:
    if one.reached < one.seeds:
        return "not reached" + (f" by {one.seeds - one.reached} of {one.seeds} seeds" if one.seeds > 1 else "")
    width = f" ± {one.half_width:.2f}" if one.half_width is not None else ""
    return f"{one.ratio:.2f}×{width}"
