"""What a residual mode costs: parameters, operations, memory, and measured step time."""

from hcexp.cost.flops import Flops, attention_flops, count_flops
from hcexp.cost.memory import activation_bytes, peak_bytes
from hcexp.cost.parameters import Parameters, count_parameters
from hcexp.cost.speed import interleave, ratio, ratio_quartiles

__all__ = [
    "Flops",
    "Parameters",
    "activation_bytes",
    "attention_flops",
    "count_flops",
    "count_parameters",
    "interleave",
    "peak_bytes",
    "ratio",
    "ratio_quartiles",
]
