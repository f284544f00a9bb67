"""The loss of one validation set, every token weighing the same, over any number of batches and processes."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric


class SetLoss(Metric):
    """Sums nats and tokens; their quotient is the loss.

    Args:
        text_bytes: UTF-8 bytes of the set's text; None if unknown, and then there are no bits per byte.
    """

    full_state_update = False
    higher_is_better = False

    nats: Tensor
    tokens: Tensor

    def __init__(self, text_bytes: int | None = None):
        super().__init__()
        if text_bytes is not None and text_bytes < 1:
            raise ValueError(f"text_bytes={text_bytes}: allowed is at least 1, or None")
        self.text_bytes = text_bytes
        # A float32 sum of a million losses would lose their last digits.
        self.add_state("nats", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("tokens", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nats: Tensor, tokens: Tensor | int) -> None:
        """Count a batch: the sum of its losses in nats, and how many tokens these are of."""
        # Lightning's half precisions convert the module's states too; the sum must stay a wide one.
        self.nats = self.nats.double() + nats
        self.tokens += tokens

    def compute(self) -> Tensor:
        """Nats a token, NaN before the first."""
        return self.nats / self.tokens

    def results(self) -> dict[str, float]:
        """`loss` in nats a token, `perplexity` = exp(loss), and `bits_per_byte` of the set's text."""
        loss = self.compute().item()
        results = {"loss": loss, "perplexity": math.exp(loss) if loss < 700 else math.inf}
        if self.text_bytes is not None:
            with self.sync_context(dist_sync_fn=self.dist_sync_fn):  # compute() leaves this process's own sum
                results["bits_per_byte"] = self.nats.item() / math.log(2) / self.text_bytes
        return results
