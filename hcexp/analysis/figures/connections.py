"""Unfolded connection matrices (the paper's Figures 7, 13 and 14)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hcexp.analysis.figures.style import ATTENTION, figure, styled
from hcexp.analysis.tables import Connections

CELL = 1.75  # inches a matrix
FEW = 24  # sublayers of which each attention is numbered


@styled
def connections(runs: Mapping[str, Connections]) -> Figure:
    """A row a run: C^(0), the weights in the sublayers' inputs, then C^(i), those in stream i. One colour scale.

    The scale ends at the weight that 90 % of the cells other than zero do not exceed, those of the hidden vector in the
    end, which sums up the streams, aside; cells beyond have its colour. As in the paper, green ticks mark attention.
    """
    columns = 1 + max(len(matrices.C) for matrices in runs.values())
    cells = np.abs(
        np.concatenate([each.ravel() for one in runs.values() for each in (one.C_0[: len(one.kinds)], one.C)])
    )
    limit = float(np.quantile(cells[cells > 0], 0.9))
    drawn = figure(CELL * columns + 1.1, (CELL + 0.35) * len(runs) + 0.3)
    grid = drawn.subplots(len(runs), columns, squeeze=False)
    for line, (label, matrices) in zip(grid, runs.items(), strict=True):
        for axes in line[1 + len(matrices.C) :]:
            axes.set_visible(False)
        for index, matrix in enumerate([matrices.C_0, *matrices.C]):
            image = line[index].imshow(
                matrix, cmap="RdBu_r", norm=Normalize(-limit, limit), interpolation="nearest", aspect="equal"
            )
            line[index].set_anchor("N")
            _mark(line[index], matrix, matrices.kinds)
            line[index].set_title(f"$C^{{({index})}}$: " + (f"stream {index}" if index else "inputs"))
        line[0].set_ylabel(f"{label}\n\ninto sublayer")
    drawn.supxlabel("output of sublayer (0: embedding)", fontsize=8)
    beyond = any(np.abs(one.C_0).max() > limit or np.abs(one.C).max() > limit for one in runs.values())
    drawn.colorbar(
        image,
        ax=grid,
        label="weight",
        shrink=min(1.0, 0.9 / len(runs) + 0.2),
        extend="both" if beyond else "neither",
        pad=0.01,
        panchor=False,
    )
    return drawn


def _mark(axes: Axes, matrix: np.ndarray, kinds: tuple[str, ...]) -> None:
    embeddings = matrix.shape[1] - len(kinds)
    attention = [k for k, kind in enumerate(kinds) if kind == "attention"]
    step = 1 if len(kinds) <= FEW else 4
    names = [str(k + 1) if place % step == 0 else "" for place, k in enumerate(attention)]
    outputs = matrix.shape[0] - len(kinds)
    axes.set_xticks([embeddings + k for k in attention], names)
    axes.set_yticks(attention, names)
    axes.set_xticks(range(embeddings), ["0" if step == 1 else ""] * embeddings, minor=True)
    axes.set_yticks(range(len(kinds), len(kinds) + outputs), ["out"] * outputs, minor=True)
    axes.tick_params(color=ATTENTION, width=1.4, length=3, labelsize=6)
    axes.tick_params(which="minor", length=0, pad=6.5, labelsize=6)
    axes.spines[:].set_visible(True)
