"""What a residual mode costs: parameters, and measured step time."""

from hcexp.cost.parameters import Parameters, count_parameters
from hcexp.cost.speed import interleave, ratio

__all__ = ["Parameters", "count_parameters", "interleave", "ratio"]
