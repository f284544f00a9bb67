"""What watches a run while it trains, one callback a file: curves with their spikes, gradient norms by layer, speed
and memory, the progress that a person sees, checkpoints. Metrics go straight into the
loggers, never through `self.log`.
"""

from importlib import import_module
from typing import Any

FILES = {
    "Curves": "curves",
    "GradientNorms": "gradients",
    "Progress": "progress",
    "SpikeScore": "spikes",
    "StepCallback": "step",
    "StepCheckpoint": "checkpoint",
    "Throughput": "throughput",
    "at_step": "checkpoint_folder",
    "checkpoint_bytes": "checkpoint",
    "damage": "checkpoint_folder",
    "latest": "checkpoint_folder",
    "to_go_on_from": "checkpoint_folder",
}


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: whoever lists the checkpoints of a run has no need of Lightning.
    if name not in FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{FILES[name]}"), name)
