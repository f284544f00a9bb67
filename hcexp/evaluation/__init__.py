"""What a model is measured on: named validation sets, and downstream tasks.

A `Suite` and a `Downstream` give loaders and metric names, a `SetLoss` and a `TaskScore` count; whoever owns the model
runs it over the batches.
"""

from hcexp.evaluation.downstream.downstream import Downstream
from hcexp.evaluation.downstream.task_score import TaskScore
from hcexp.evaluation.perplexity.set_loss import SetLoss
from hcexp.evaluation.perplexity.suite import SUITES, Suite
from hcexp.evaluation.perplexity.text_set import TextSet
from hcexp.evaluation.perplexity.token_files import TokenFiles
from hcexp.evaluation.perplexity.token_suite import TokenSuite
from hcexp.evaluation.perplexity.validation_set import ValidationSet
from hcexp.evaluation.perplexity.vocabulary import Vocabulary
from hcexp.evaluation.perplexity.windows import Windows

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
