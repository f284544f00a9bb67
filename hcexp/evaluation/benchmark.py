"""What a trained model can be measured on, part by part."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import nn

from hcexp.evaluation.scoring import Watch


class Benchmark(Protocol):
    """A suite of validation sets, the downstream tasks, or a task of lm-evaluation-harness, prepared.

    Attributes:
        name: with which its metrics begin.
        parts: its sets or tasks.
    """

    name: str

    @property
    def parts(self) -> Sequence[str]: ...

    def fingerprint_of(self, part: str) -> str:
        """Of the content of a set or task, and of how much of it is read, in hex."""

    def score(self, model: nn.Module, part: str, *, watch: Watch = iter) -> Mapping[str, float]:
        """One set's or task's scores of a model that maps tokens (batch, seq) to logits (batch, seq, vocabulary)."""

    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Every metric by its full name, means among them, from the scores of each part."""
