"""The figures of an analysis, one a file: rows in, a matplotlib figure out. Nothing here needs a display.

matplotlib is slow to import: whoever draws imports this when it draws.
"""

from hcexp.analysis.figures.coefficients import coefficients
from hcexp.analysis.figures.connections import connections
from hcexp.analysis.figures.convergence import convergence
from hcexp.analysis.figures.gains import gains
from hcexp.analysis.figures.gradients import gradients, gradients_in_training
from hcexp.analysis.figures.parts import parts
from hcexp.analysis.figures.ranks import ranks
from hcexp.analysis.figures.similarity import similarity
from hcexp.analysis.figures.streams import streams
from hcexp.analysis.figures.style import save, save_svg
from hcexp.analysis.figures.training import training

__all__ = [
    "coefficients",
    "connections",
    "convergence",
    "gains",
    "gradients",
    "gradients_in_training",
    "parts",
    "ranks",
    "save",
    "save_svg",
    "similarity",
    "streams",
    "training",
]
