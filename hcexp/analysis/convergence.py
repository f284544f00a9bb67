"""How much sooner a variant is where the baseline ends: the paper's "converges 1.8× faster" (Figure 1)."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Curve = Sequence[tuple[float, float]]  # (tokens, loss), in the order of the tokens


class Convergence(NamedTuple):
    """Convergence ratios of a variant, paired by seed.

    ratios: by seed, tokens of the baseline over tokens at which the variant first has the baseline's final loss.
    not_reached: the seeds whose variant never has it; a mean over the others alone would flatter the variant.
    at_least: those of the ratios that are lower bounds. At its first point the variant is below that loss already, and
        when it had it nobody saw.
    """

    ratios: dict[int, float]
    not_reached: tuple[int, ...]
    at_least: tuple[int, ...] = ()


def convergence(variant: Mapping[int, Curve], baseline: Mapping[int, Curve]) -> Convergence:
    """The ratios of the seeds that both have, from their loss curves by seed; see `convergence_ratio`."""
    ratios = {seed: convergence_ratio(variant[seed], baseline[seed]) for seed in sorted(variant.keys() & baseline)}
    return Convergence(
        {seed: ratio for seed, ratio in ratios.items() if ratio is not None},
        tuple(seed for seed, ratio in ratios.items() if ratio is None),
        tuple(seed for seed, ratio in ratios.items() if ratio and _begins_below(variant[seed], baseline[seed][-1][1])),
    )


def convergence_ratio(variant: Curve, baseline: Curve) -> float | None:
    """Tokens that the baseline was trained on, over those at which the variant first has the baseline's final loss.

    Above 1 the variant is faster. None if it never has that loss, in the tokens that it was trained on. Both curves are
    of the same loss: validation losses, or training losses smoothed alike. A curve that goes up and down reaches its
    own final loss before its end, and so has a ratio above 1 with itself: that much is noise. If the variant's first
    point is below that loss already, the ratio is a lower bound: see `Convergence.at_least`.

    Raises ValueError for a baseline without a point, or whose last loss is not finite.
    """
    if not baseline or not math.isfinite(baseline[-1][1]):
        raise ValueError("the baseline has no final loss that a variant could reach")
    tokens, loss = baseline[-1]
    reached = tokens_to_reach(variant, loss)
    return tokens / reached if reached else None


def tokens_to_reach(curve: Curve, loss: float) -> float | None:
    """Tokens at which the curve is first at `loss` or below, between two of its points on the straight line.

    Points that are not finite are left out. None if the curve stays above; its first point, and so more tokens than it
    took, if that is below already.
    """
    before: tuple[float, float] | None = None
    for tokens, value in curve:
        if not math.isfinite(value):
            continue
        if value <= loss:
            if before is None:
                return tokens
            return before[0] + (tokens - before[0]) * (before[1] - loss) / (before[1] - value)
        before = tokens, value
    return None


def _begins_below(curve: Curve, loss: float) -> bool:
    return next((value < loss for _, value in curve if math.isfinite(value)), False)
