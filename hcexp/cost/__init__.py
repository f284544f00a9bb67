"""What a residual mode costs: parameters, operations, memory, and measured step time."""

from hcexp.cost.allocated import Allocated, count_allocated
from hcexp.cost.cluster import Cluster
from hcexp.cost.devices import Device, device, of_hardware
from hcexp.cost.flops import Flops, attention_flops, count_flops
from hcexp.cost.memory import activation_bytes, peak_bytes
from hcexp.cost.parameters import Parameters, count_parameters
from hcexp.cost.resident import Resident, replicated, sharded, single
from hcexp.cost.speed import interleave, ratio, ratio_quartiles
from hcexp.cost.traffic import count_traffic
from hcexp.cost.workload import Workload, workload

__all__ = [
    "Allocated",
    "Cluster",
    "Device",
    "Flops",
    "Parameters",
    "Resident",
    "Workload",
    "activation_bytes",
    "attention_flops",
    "count_allocated",
    "count_flops",
    "count_parameters",
    "count_traffic",
    "device",
    "interleave",
    "of_hardware",
    "peak_bytes",
    "ratio",
    "ratio_quartiles",
    "replicated",
    "sharded",
    "single",
    "workload",
]
