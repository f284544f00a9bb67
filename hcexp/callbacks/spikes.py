"""The spike score of a training curve."""

import math

import numpy as np


class SpikeScore:
    """Share of values at least `threshold` standard deviations away from the rolling average before them.

    The spike score of the OLMo 2 report (arXiv 2501.00656, the section on training stability): seven standard
    deviations, a rolling average of the last 1,000 values. What the report leaves open is settled here:

    - A value is judged by the values before it; it enters the window afterwards, a spike included.
    - "Away" has two sides: a sudden drop counts as well.
    - The standard deviation is that of the window (divisor: the number of values in it).
    - Nothing is judged until the window holds `warmup` values.
    - Where the window has no spread, any other value is a spike: it is infinitely many deviations away.
    - A value that is not finite never enters the window, and is a spike wherever it is judged.

    The statistics are taken afresh from the window at every step: running sums would drift, and a resumed run
    must decide as an uninterrupted one.

    Args:
        threshold: standard deviations, above 0.
        window: how many earlier values the average and the deviation are taken over.
        warmup: how many earlier values there must be, 2 to `window`.

    Raises ValueError for a knob outside these.
    """

    def __init__(self, threshold: float = 7.0, window: int = 1000, warmup: int = 50) -> None:
        if not threshold > 0:
            raise ValueError(f"spike threshold must be above 0 standard deviations, got {threshold}")
        if not 2 <= warmup <= window:
            raise ValueError(f"spike warmup must be 2 to window (window={window}), got {warmup}")
        self.threshold = float(threshold)
        self.warmup = warmup
        self.count = 0  # spikes
        self.judged = 0  # values that were judged at all
        self._values = np.zeros(window)  # a ring: the oldest value is at `_next` once it is full
        self._filled = 0
        self._next = 0

    @property
    def score(self) -> float:
        """Share of the judged values that were spikes, 0 to 1; nan while nothing was judged."""
        return self.count / self.judged if self.judged else math.nan

    def update(self, value: float) -> bool:
        """Judge the next value of the series, then take it into the window; True if it is a spike."""
        judged = self._filled >= self.warmup
        finite = math.isfinite(value)
        spike = judged and not (finite and self._within(value))
        self.judged += judged
        self.count += spike
        if finite:
            self._values[self._next] = value
            self._next = (self._next + 1) % len(self._values)
            self._filled = min(self._filled + 1, len(self._values))
        return spike

    def _within(self, value: float) -> bool:
        values = self._values[: self._filled]
        mean = float(values.sum()) / self._filled
        away = values - mean
        deviation = math.sqrt(float(away.dot(away)) / self._filled)
        # The mean of equal values is off by its rounding: without the floor, a constant series would have spikes.
        rounding = 8 * np.finfo(float).eps * abs(mean)
        return abs(value - mean) <= rounding or abs(value - mean) < self.threshold * deviation

    def state_dict(self) -> dict:
        """Everything the future depends on, in plain numbers and lists."""
        values = self._values[: self._filled].tolist()
        return {"count": self.count, "judged": self.judged, "next": self._next, "values": values}

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`; raises ValueError if the state was written with another window."""
        filled, window = len(state["values"]), len(self._values)
        if filled > window or (filled < window and state["next"] != filled):
            raise ValueError(f"spike window is {window}, but the saved state was written with another one")
        self.count, self.judged, self._next, self._filled = state["count"], state["judged"], state["next"], filled
        self._values[:filled] = state["values"]
