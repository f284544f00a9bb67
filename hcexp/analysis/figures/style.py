"""What the figures have in common: how they look, and how they are saved."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

# Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
DASHES = ("-", "--", ":", "-.")
ATTENTION = "#009E73"
# Inches in a legend: of a line with the space around it, and of a letter.
LEGEND_KEY, LEGEND_LETTER = 0.5, 0.062

STYLE = {
    "font.size": 8,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#666666",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text, to be searched and edited
    "svg.hashsalt": "hcexp",  # the same numbers make the same file
}

styled = matplotlib.rc_context(STYLE)


def figure(width: float, height: float) -> Figure:
    """An empty one, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def look(index: int) -> dict[str, str]:
    """Colour and dashes of the run at this place."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def legend(drawn: Figure, axes: Axes, columns: int = 4, line: str = "", dots: str = "") -> None:
    """Of the runs in one of the panels, above them all; with what a line and what dots stand for, if that is said."""
    handles, labels = axes.get_legend_handles_labels()
    for what, style in ((line, {}), (dots, {"linestyle": "", "marker": "."})):
        if what:
            handles, labels = [*handles, Line2D([], [], color="#777777", **style)], [*labels, what]
    if labels:
        widest = LEGEND_KEY + LEGEND_LETTER * max(map(len, labels))
        columns = max(1, min(columns, len(labels), int(drawn.get_figwidth() / widest)))
        drawn.legend(handles, labels, loc="outside upper center", ncols=columns)


def count_sublayers(axes: Axes, label: str = "sublayer") -> None:
    """An x-axis of whole numbers from 1."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=2))


def count_tokens(axes: Axes) -> None:
    """An x-axis of tokens: 300 k, 20 M, 1.5 B."""
    axes.set_xlabel("tokens")
    axes.xaxis.set_major_formatter(_Tokens(sep=" "))
    axes.xaxis.set_major_locator(MaxNLocator(5))


class _Tokens(EngFormatter):
    ENG_PREFIXES = EngFormatter.ENG_PREFIXES | {9: "B"}


def without_start(axes: Axes, curves: Iterable[Sequence[tuple[float, float]]], share: float = 0.1) -> None:
    """Let the y-axis fit what comes after the first tenth of the curves, whose fall would take up all of it."""
    values = [value for curve in curves for x, value in curve if x >= share * curve[-1][0]]
    if len(values) > 1 and (spread := max(values) - min(values)) > 0:
        axes.set_ylim(min(values) - 0.06 * spread, max(values) + 0.06 * spread)


@styled
def save(drawn: Figure, folder: Path, name: str) -> list[Path]:
    """Write it as PNG and as SVG."""
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    drawn.savefig(paths[0])
    drawn.set_layout_engine("none")  # it is laid out, which takes half of the time
    save_svg(drawn, paths[1])
    return paths


@styled
def save_svg(drawn: Figure, target: Path | TextIO) -> None:
    """Write it as SVG, the same for the same numbers."""
    drawn.savefig(target, format="svg", metadata={"Date": None})
