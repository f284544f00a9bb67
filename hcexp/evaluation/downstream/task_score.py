"""How well a model does a task."""

import math

import torch
from torch import Tensor, nn

from hcexp.evaluation.downstream.buckets import TaskBatch
from hcexp.evaluation.downstream.task import CHOOSING, Task
from hcexp.evaluation.meter import Meter
from hcexp.objective.next_token import nats


class TaskScore(Meter):
    """Sums the log-likelihood of every continuation; from these it takes the accuracy.

    The same as `olmo_eval.ICLMetric`, but for ties: where several different continuations are the best, ICLMetric
    takes the first, so that a model that knows nothing has 2 % on SciQ, whose right answer is always the last of
    four, and 68 % on MRPC; here each of them counts in part, and it has what guessing gives.
    """

    varying_shapes = True
    nats: Tensor
    counted: Tensor

    def __init__(self, task: Task):
        super().__init__()
        self.task = task
        shape = task.tokens.shape
        self.add_state("nats", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counted", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, model: nn.Module, batch: TaskBatch) -> None:
        """Count a batch by the model's logits, (rows, tokens, vocabulary)."""
        # Only what is scored is made wide.
        losses = nats(model(batch.inputs)[batch.rows, batch.positions], batch.targets, "none")
        # Lightning's half precisions convert the module's states too; the sum must stay a wide one.
        self.nats = self.nats.double()
        self.nats.view(-1).index_add_(0, batch.cells, losses.double())
        self.counted.view(-1).index_add_(0, batch.cells, torch.ones_like(batch.cells))

    def compute(self) -> dict[str, float]:
        """What the task measures.

        - `accuracy`, 0 to 1: of the tasks with a choice; NaN for a model that gives NaN;
        - `f1`, 0 to 1, of the first continuation ("yes"): of the tasks that are judged by it;
        - `bits_per_byte` of the right continuation's text, the mean over the documents.

        Raises ValueError if not every continuation was scored, once.
        """
        task, counted = self.task, self.counted.cpu()
        if not torch.equal(counted, task.tokens):
            raise ValueError(
                f"downstream task {task.label}: {counted.sum()} of {task.tokens.sum()} tokens were scored: leave "
                "trainer.limit_val_batches out, and bound a task with evaluation.documents"
            )
        nats = self.nats.cpu().double()
        right = task.right[:, None]
        bits = nats.gather(1, right) / task.text_bytes.gather(1, right) / math.log(2)
        results = {"bits_per_byte": bits.mean().item()}
        if task.metric in CHOOSING:
            chosen = self._chosen(nats)
            results["accuracy"] = chosen.gather(1, right).mean().item()
            if task.metric == "f1":
                hits = chosen[task.right == 0, 0].sum().item()
                of = chosen[:, 0].sum().item() + (task.right == 0).sum().item()
                results["f1"] = 2 * hits / of if of else 0.0
        return results

    def _chosen(self, nats: Tensor) -> Tensor:
        """(documents, continuations), float64: 1 for the best one; where several are, each has its part."""
        costs = nats / self.task.characters if self.task.metric == "len_norm" else nats
        costs = costs.masked_fill(~self.task.choosable, math.inf)
        best = (costs == costs.amin(1, keepdim=True)).double()
        return best / best.sum(1, keepdim=True)
