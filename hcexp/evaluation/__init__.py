"""What a model is measured on: named validation sets, and downstream tasks.

A `Suite` and a `Downstream` give loaders and metric names, a `SetLoss` and a `TaskScore` count; whoever owns the model
runs it over the batches.
"""

from hcexp.evaluation.downstream import Downstream
from hcexp.evaluation.set_loss import SetLoss
from hcexp.evaluation.suite import SUITES, Suite
from hcexp.evaluation.task_score import TaskScore
from hcexp.evaluation.text_set import TextSet
from hcexp.evaluation.token_files import TokenFiles
from hcexp.evaluation.token_suite import TokenSuite
from hcexp.evaluation.validation_set import ValidationSet
from hcexp.evaluation.vocabulary import Vocabulary
from hcexp.evaluation.windows import Windows

__all__ = [
    "SUITES",
    "Downstream",
    "SetLoss",
    "Suite",
    "TaskScore",
    "TextSet",
    "TokenFiles",
    "TokenSuite",
    "ValidationSet",
    "Vocabulary",
    "Windows",
]
