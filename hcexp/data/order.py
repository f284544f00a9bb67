"""Which sequences an optimiser step sees: a pure function of seed and step, so nothing need be replayed."""

from functools import lru_cache

import numpy as np


def batch_indices(seed: int, step: int, batch_size: int, sequences: int) -> np.ndarray:
    """The sequences of the global batch of optimiser step `step` (from 0): int64, shape (batch_size,).

    The order runs through every sequence once an epoch, in a permutation keyed by (seed, epoch); a batch may
    span the border of two epochs.

    Raises:
        ValueError: an argument is out of range.
    """
    for name, value, least in (("seed", seed, 0), ("step", step, 0), ("batch_size", batch_size, 1),
                               ("sequences", sequences, 1)):  # fmt: skip
        if value < least:
            raise ValueError(f"{name}={value}: allowed is at least {least}")
    positions = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epochs, places = np.divmod(positions, sequences)
    indices = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = epoch_permutation(seed, int(epoch), sequences)[places[here]]
    return indices


@lru_cache(maxsize=2)  # a batch on the border of two epochs needs both
def epoch_permutation(seed: int, epoch: int, sequences: int) -> np.ndarray:
    """Every number below `sequences` once, shape (sequences,): uint32 where it holds them, else uint64."""
    order = np.arange(sequences, dtype=np.uint32 if sequences <= 1 << 32 else np.uint64)
    np.random.default_rng(np.random.SeedSequence([seed, epoch])).shuffle(order)
    order.flags.writeable = False  # it is shared by all who ask
    return order
