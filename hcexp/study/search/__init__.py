"""Optuna's part: the space of a search, its draws, pruning, and the journal that keeps them."""
