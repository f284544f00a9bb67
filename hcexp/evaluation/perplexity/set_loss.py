"""The loss of one validation set, every token weighing the same."""

import math

import torch
from torch import Tensor, nn

from hcexp.evaluation.meter import Meter
from hcexp.objective.next_token import IGNORED, nats


class SetLoss(Meter):
    """Sums nats and tokens; their quotient is the loss.

    Args:
        text_bytes: UTF-8 bytes of the set's text; None if unknown, and then there are no bits per byte.

    Raises ValueError for less than a byte.
    """

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

    def update(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
        """Count `(inputs, targets)`, each (batch, seq), by the model's logits, (batch, seq, vocabulary)."""
        inputs, targets = batch
        # Lightning's half precisions convert the module's states too; the sum must stay a wide one.
        self.nats = self.nats.double() + nats(model(inputs), targets, "sum")
        self.tokens += (targets != IGNORED).sum()

    def compute(self) -> dict[str, float]:
        """`loss` in nats a token, NaN before the first, `perplexity` = exp(loss), and `bits_per_byte` of the text."""
        loss = (self.nats / self.tokens).item()
        results = {"loss": loss, "perplexity": math.inf if loss >= 700 else math.exp(loss)}
        if self.text_bytes is not None:
            results["bits_per_byte"] = self.nats.item() / math.log(2) / self.text_bytes
        return results
