"""What a model is measured on: validation sets, downstream tasks, tasks of lm-evaluation-harness.

A `Benchmark` gives batches and names its metrics, a `Meter` asks the model and counts: in training and afterwards.
"""

from hcexp.evaluation.benchmark import Benchmark
from hcexp.evaluation.downstream.downstream import Downstream
from hcexp.evaluation.downstream.task_score import TaskScore
from hcexp.evaluation.meter import Meter
from hcexp.evaluation.perplexity.set_loss import SetLoss
from hcexp.evaluation.perplexity.suite import SUITES, PerplexitySuite
from hcexp.evaluation.perplexity.text_set import TextSet
from hcexp.evaluation.perplexity.token_files import TokenFiles
from hcexp.evaluation.perplexity.token_suite import TokenSuite
from hcexp.evaluation.perplexity.validation_set import ValidationSet
from hcexp.evaluation.perplexity.vocabulary import Vocabulary
from hcexp.evaluation.perplexity.windows import Windows

__all__ = [
    "SUITES",
    "Benchmark",
    "Downstream",
    "Meter",
    "PerplexitySuite",
    "SetLoss",
    "TaskScore",
    "TextSet",
    "TokenFiles",
    "TokenSuite",
    "ValidationSet",
    "Vocabulary",
    "Windows",
]
