"""Resuming from a checkpoint that was written in the middle of an optimiser step."""

from typing import Any


def rewind_to_step(checkpoint: dict[str, Any], accumulate: int) -> None:
    """Have a checkpoint of an interrupted step, of `accumulate` micro-batches, resume from the end of the step before.

    A checkpoint written on an exception or a signal may fall between two micro-batches. It has lost the gradients
    accumulated until then, but counts the micro-batches: the next step would come too early, and metrics would be
    logged a step late. So its counts are set to those of a checkpoint at a step's end.
    """
    loop, step = checkpoint["loops"]["fit_loop"], checkpoint["global_step"]
    progress, micro_batches = loop["epoch_loop.batch_progress"], step * accumulate
    if progress["total"]["ready"] == progress["total"]["processed"] == micro_batches:
        return
    for counts in (progress["total"], progress["current"]):
        counts["ready"] = counts["started"] = counts["processed"] = micro_batches
        # A checkpoint is written before these two count the batch; the second numbers the logged metrics.
        counts["completed"] = micro_batches - 1
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = step - 1
