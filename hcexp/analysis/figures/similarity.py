"""Cosine similarity between the inputs of adjacent layers (the paper's Figure 3)."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from hcexp.analysis.figures.style import count_sublayers, figure, legend, look, styled
from hcexp.analysis.rows import Similarity


@styled
def similarity(runs: Mapping[str, Sequence[Similarity]]) -> Figure:
    """The median over tokens with a band from 5 to 95 %, between sublayers and between blocks."""
    present = [
        kind for kind in ("sublayer", "block") if any(row.between == kind for rows in runs.values() for row in rows)
    ]
    drawn = figure(3.1 * max(1, len(present)) + 0.2, 2.7)
    panels = drawn.subplots(1, max(1, len(present)), squeeze=False, sharey=True)[0]
    for axes, between in zip(panels, present, strict=False):
        for index, (label, rows) in enumerate(runs.items()):
            chosen = [row for row in rows if row.between == between]
            at = [row.layer + 1 for row in chosen]
            axes.plot(at, [row.median for row in chosen], label=label, marker="o", markersize=2.5, **look(index))
            band = [row.low for row in chosen], [row.high for row in chosen]
            axes.fill_between(at, *band, color=look(index)["color"], alpha=0.15, linewidth=0)
        count_sublayers(axes, f"{between}, compared with the one before")
        axes.set_title(f"adjacent {between}s")
    panels[0].set_ylim(min(0, *(row.low for rows in runs.values() for row in rows)) - 0.03, 1.03)
    panels[0].set_ylabel("cosine similarity of their inputs")
    legend(drawn, panels[0])
    return drawn
