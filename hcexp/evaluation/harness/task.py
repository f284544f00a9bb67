"""A task of lm-evaluation-harness as a benchmark of one part."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from torch import nn

from hcexp.data import TextTokenizer
from hcexp.disk.checksum import checksum, file_checksum
from hcexp.evaluation.harness.harness import harness_scores, require_tasks
from hcexp.evaluation.scoring import Watch

DEFINITIONS = (".yaml", ".yml", ".py")


class HarnessTask:
    """See `harness_scores` for the names of the metrics.

    Args:
        task: name of a task, group or tag, or a YAML file of a task.
        folder: with YAML files of further tasks.
        documents: documents of the task, from its beginning, for a quick look; None for all.
        batch_size: texts a batch.
    """

    def __init__(self, task: str, folder: Path | None = None, documents: int | None = None, batch_size: int = 16):
        self.task, self.folder = task, folder
        self.documents, self.batch_size = documents, batch_size
        self.name = f"harness/{Path(task).stem if Path(task).is_file() else task}"
        self.parts = [task]
        self._tokenizer: TextTokenizer | None = None

    def prepare(self, tokenizer: TextTokenizer, sequence_length: int) -> None:
        """Take the model's tokenizer and length in tokens.

        Raises:
            ValueError: `lm_eval` is not installed, or has no such task.
        """
        require_tasks([self.task], self.folder)
        self._tokenizer, self.sequence_length = tokenizer, sequence_length

    def fingerprint_of(self, part: str) -> str:
        """Of the task's name, of the harness's release, and of what defines tasks in `folder`; not of their data."""
        own = [Path(part)] if Path(part).is_file() else []
        if self.folder is not None:
            own += sorted(path for path in self.folder.rglob("*") if path.suffix in DEFINITIONS and path.is_file())
        return checksum(part, version("lm_eval"), self.documents, [file_checksum(path) for path in own])

    def score(self, model: nn.Module, part: str, *, watch: Watch = iter) -> dict[str, float]:
        """Every metric by its full name; the harness shows its own progress."""
        return harness_scores(
            model,
            self._tokenizer,
            [part],
            sequence_length=self.sequence_length,
            batch_size=self.batch_size,
            documents=self.documents,
            folder=self.folder,
        )

    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """What `score` gave."""
        return {name: value for row in scored.values() for name, value in row.items()}
