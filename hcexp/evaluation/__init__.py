"""What a model is measured on: named validation sets.

A `Suite` gives loaders and metric names, a `SetLoss` counts; whoever owns the model runs it over the batches.
"""

from hcexp.evaluation.set_loss import SetLoss
from hcexp.evaluation.suite import SUITES, Suite
from hcexp.evaluation.windows import Windows

__all__ = ["SUITES", "SetLoss", "Suite", "Windows"]
