"""Small models with answers that tests know."""

import torch
from torch import Tensor


def answering(logits: Tensor):
    """A model that gives these logits, whatever it is asked."""
    return lambda tokens: logits


def uniform(tokens: Tensor) -> Tensor:
    """Logits that make every token as likely as any other."""
    return torch.zeros(*tokens.shape, 4096)
