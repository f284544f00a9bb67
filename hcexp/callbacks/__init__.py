"""What watches a run while it trains, one callback a file: curves with their spikes, gradient norms by layer, speed
and memory, the progress that a person sees, checkpoints. Metrics go straight into the
loggers, never through `self.log`.
"""

from hcexp.callbacks.checkpoint import StepCheckpoint, checkpoint_bytes
from hcexp.callbacks.checkpoint_folder import at_step, damage, latest, to_go_on_from
from hcexp.callbacks.curves import Curves
from hcexp.callbacks.gradients import GradientNorms
from hcexp.callbacks.progress import Progress
from hcexp.callbacks.spikes import SpikeScore
from hcexp.callbacks.step import StepCallback
from hcexp.callbacks.throughput import Throughput

__all__ = [
    "Curves",
    "GradientNorms",
    "Progress",
    "SpikeScore",
    "StepCallback",
    "StepCheckpoint",
    "Throughput",
    "at_step",
    "checkpoint_bytes",
    "damage",
    "latest",
    "to_go_on_from",
]
