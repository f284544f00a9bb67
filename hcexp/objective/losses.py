"""What a model is trained on, and what of it is reported."""

from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class Losses(NamedTuple):
    """The losses of a batch.

    Attributes:
        minimised: a scalar that gradients come from.
        reported: scalars without gradients by their names, `loss` first: each becomes the curve `train/<name>`.
    """

    minimised: Tensor
    reported: dict[str, Tensor]


class Objective(Protocol):
    """Losses of a model on a batch. It is pure: training, cost, analysis and evaluation call the same one."""

    def __call__(self, model: nn.Module, batch: Any) -> Losses: ...
