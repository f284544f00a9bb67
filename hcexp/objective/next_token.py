"""Next-token prediction."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hcexp.objective.losses import Losses

IGNORED = -100  # a target that is not predicted


class NextToken:
    """The cross-entropy of the next token, in nats, the mean over a batch's tokens.

    A batch is `(inputs, targets)`, each (batch, seq); the model maps tokens to logits, (batch, seq, vocabulary).

    Args:
        z_loss: weight of the mean squared log-partition, which is minimised too and not reported (OLMoE: 1e-3).

    Raises ValueError for a negative `z_loss`.
    """

    def __init__(self, z_loss: float = 0.0):
        if z_loss < 0:
            raise ValueError(f"objective.z_loss={z_loss:g} is a weight: it must be 0 or more")
        self.z_loss = z_loss

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Losses:
        inputs, targets = batch
        logits = wide(model(inputs))
        loss = nats(logits, targets)
        minimised = loss + self.z_loss * logits.logsumexp(-1).square().mean() if self.z_loss else loss
        return Losses(minimised, {"loss": loss.detach()})


def nats(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """The cross-entropy of logits, (…, vocabulary), for targets, (…); those that are `IGNORED` do not count.

    `reduction` is torch's: "mean", "sum", or "none", which gives (tokens,).
    """
    return cross_entropy(wide(logits).flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction=reduction)


def wide(logits: Tensor) -> Tensor:
    """Logits in float32 or wider: a softmax over thousands of bfloat16 values loses what is compared here."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
