"""What a trained model does: its connection matrices, how its streams are used, and how fast it got there."""

from hcexp.analysis.convergence import Convergence, convergence
from hcexp.analysis.folder import read_connections
from hcexp.analysis.survey import Survey, connection_matrices, survey
from hcexp.analysis.tables import Connections

__all__ = [
    "Connections",
    "Convergence",
    "Survey",
    "connection_matrices",
    "convergence",
    "read_connections",
    "survey",
]
