"""How a model stands while it is scored."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Goes through the batches of a set or task, as a progress bar does; `iter` shows nothing.
Watch = Callable[[Iterable], Iterable]


@contextmanager
def scoring(model: nn.Module) -> Iterator[torch.device]:
    """Without gradients, in evaluation mode, and afterwards in the modes of before; gives the model's device."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield next(model.parameters(), torch.empty(0)).device
    finally:
        for module in training:
            module.training = True
