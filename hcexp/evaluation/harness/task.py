"""A task of lm-evaluation-harness as a benchmark of one part."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from hcexp.disk.checksum import checksum, file_checksum
from hcexp.evaluation.benchmark import Benchmark
from hcexp.evaluation.harness.harness import harness_scores, require_tasks
from hcexp.evaluation.meter import Meter

DEFINITIONS = (".yaml", ".yml", ".py")


class HarnessTask(Benchmark):
    """A task, group or tag; `harness_scores` says what its metrics are called. The harness shows its own progress.

    Args:
        task: name of a task, group or tag, or a YAML file of a task.
        folder: with YAML files of further tasks.
        documents: documents of the task, from its beginning, for a quick look; None for all.
        batch_size: texts a batch.
    """

    def __init__(self, task: str, folder: Path | None = None, documents: int | None = None, batch_size: int = 16):
        self.task, self.folder, self.documents, self.batch_size = task, folder, documents, batch_size
        self.name, self.parts = f"harness/{Path(task).stem if Path(task).is_file() else task}", [task]
        self._data: Any = None

    @property
    def fingerprint(self) -> str:
        return self.fingerprint_of(self.task)

    def fingerprint_of(self, part: str) -> str:
        """Of the task's name, of the harness's release, and of what defines tasks in `folder`; not of their data."""
        own = [Path(part)] if Path(part).is_file() else []
        if self.folder is not None:
            own += sorted(path for path in self.folder.rglob("*") if path.suffix in DEFINITIONS and path.is_file())
        return checksum(part, version("lm_eval"), self.documents, [file_checksum(path) for path in own])

    def prepare(self, data: Any, cache: Any = None) -> None:
        """Take the tokenizer and length of a data module; ValueError unless `lm_eval` has the task."""
        require_tasks([self.task], self.folder)
        self._data = data

    def loader(self, part: str, rank: int = 0, world_size: int = 1) -> list[str]:
        """The task alone: the harness makes the batches, and every process scores all of them."""
        return [part]

    def meter(self, part: str) -> "HarnessScore":
        return HarnessScore(self)

    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """What the meter gave, whose names are full ones."""
        return {name: value for row in scored.values() for name, value in row.items()}


class HarnessScore(Meter):
    """Keeps what the harness finds of a model on a prepared task."""

    varying_shapes = True

    def __init__(self, task: HarnessTask):
        super().__init__()
        self.task, self._found = task, {}

    def update(self, model: nn.Module, batch: str) -> None:
        task, data = self.task, self.task._data
        bounds = {"sequence_length": data.sequence_length, "batch_size": task.batch_size, "documents": task.documents}
        self._found = harness_scores(model, data.tokenizer, [batch], folder=task.folder, **bounds)

    def compute(self) -> dict[str, float]:
        return self._found
