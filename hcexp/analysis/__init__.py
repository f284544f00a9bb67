"""What a trained model does: its connection matrices."""

from hcexp.analysis.connections import Trace, connection_matrices, trace

__all__ = ["Trace", "connection_matrices", "trace"]
