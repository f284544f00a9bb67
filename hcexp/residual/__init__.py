"""The subject: how a sublayer reads from and writes to the residual state.

A mode is one file here and one YAML in `conf/residual/`; `stream.py` is the interface, `operator.py` the algebra.
"""

from hcexp.residual.altup import AltUp
from hcexp.residual.hyper import DynamicHyperConnections, StaticHyperConnections
from hcexp.residual.operator import Coefficients, hyper_connect
from hcexp.residual.parallel import Parallel
from hcexp.residual.post_norm import PostNorm
from hcexp.residual.pre_norm import PreNorm
from hcexp.residual.resi_dual import ResiDual
from hcexp.residual.stream import Connection, NormFactory, PreNormed, ResidualStream, SingleStream
from hcexp.residual.two_hop import TwoHop

__all__ = [
    "AltUp",
    "Coefficients",
    "Connection",
    "DynamicHyperConnections",
    "NormFactory",
    "Parallel",
    "PostNorm",
    "PreNorm",
    "PreNormed",
    "ResiDual",
    "ResidualStream",
    "SingleStream",
    "StaticHyperConnections",
    "TwoHop",
    "hyper_connect",
]
