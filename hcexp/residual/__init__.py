"""The subject: how a sublayer reads from and writes to the residual state.

A mode is one file here and one YAML in `conf/residual/`; `stream.py` is the interface, `operator.py` the algebra.
"""

from hcexp.residual.hyper import DynamicHyperConnections, StaticHyperConnections
from hcexp.residual.operator import Coefficients, hyper_connect
from hcexp.residual.pre_norm import PreNorm
from hcexp.residual.stream import Connection, NormFactory, ResidualStream

__all__ = [
    "Coefficients",
    "Connection",
    "DynamicHyperConnections",
    "NormFactory",
    "PreNorm",
    "ResidualStream",
    "StaticHyperConnections",
    "hyper_connect",
]
