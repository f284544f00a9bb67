"""Silence for what libraries say to every run and no reader can use; their warnings and errors stay."""

import logging
import os
import warnings

HARMLESS = (
    r".*does not have many workers.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r".*`IterableDataset` has `__len__` defined.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",
)


def quiet() -> None:
    """Call it once, in a process of our own."""
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)
    logging.disable(logging.INFO)
    # MLflow prints a server's address when a run ends: a password too, if it is in there.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
