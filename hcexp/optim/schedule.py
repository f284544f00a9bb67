"""The learning rate's course: linear warm-up, then decay to a fraction of the peak."""

from collections.abc import Callable
from math import cos, pi

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: (1 + cos(pi * progress)) / 2,
    "linear": lambda progress: 1 - progress,
    "constant": lambda progress: 1.0,
}


def warmup_steps(steps: int, warmup: int | None, warmup_share: float) -> int:
    """Steps of warm-up: `warmup`, or if that is None `warmup_share` of `steps`, rounded; the last step is none."""
    return min(round(warmup_share * steps), steps - 1) if warmup is None else warmup


class Schedule:
    """Factor on the peak learning rate at every optimiser step.

    Args:
        steps: optimiser steps of the run.
        shape: "cosine", "linear" or "constant".
        warmup: steps of linear warm-up; step `warmup - 1` is the first at the peak. None for `warmup_share`.
        warmup_share: the part of the steps that is warm-up, see `warmup_steps`.
        min_lr_ratio: fraction of the peak at the last step.

    Raises ValueError, naming the knob, for values that make no course.
    """

    def __init__(
        self,
        steps: int,
        shape: str = "cosine",
        warmup: int | None = None,
        warmup_share: float = 0.0,
        min_lr_ratio: float = 0.1,
    ):
        if steps < 1:
            raise ValueError(f"a run of steps={steps} trains nothing: it must be 1 or more")
        if shape not in SHAPES:
            raise ValueError(f"schedule.shape={shape} is not a course: choose from {sorted(SHAPES)}")
        if not 0 <= warmup_share < 1:
            raise ValueError(
                f"schedule.warmup_share={warmup_share} is a part of the steps: it must be 0 or more, and less than 1"
            )
        if warmup is not None and not 0 <= warmup < steps:
            raise ValueError(
                f"schedule.warmup={warmup} counts steps: it must be 0 or more, and less than steps={steps}"
            )
        if not 0 <= min_lr_ratio <= 1:
            raise ValueError(
                f"schedule.min_lr_ratio={min_lr_ratio} is a fraction of the peak: it must lie between 0 and 1"
            )
        self.steps, self.shape, self.min_lr_ratio = steps, SHAPES[shape], min_lr_ratio
        self.warmup = warmup_steps(steps, warmup, warmup_share)

    def factor(self, step: int) -> float:
        """The factor at optimiser step `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min((step - self.warmup) / max(self.steps - 1 - self.warmup, 1), 1.0)
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * self.shape(progress)

    def __call__(self, optimizer: Optimizer) -> LambdaLR:
        """A torch scheduler, stepped once an optimiser step."""
        return LambdaLR(optimizer, self.factor)
