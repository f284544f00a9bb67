"""A run: one configuration in, one folder out, and that folder read back."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hcexp.run.checkpoint import Loaded


def load(run: str | Path, checkpoint: str | Path | None = None) -> "Loaded":
    """The network, the tokenizer and the configuration of a run, by its folder: (model, tokenizer, configuration).

    The weights are in place, on the CPU: those of the newest checkpoint, or of `checkpoint`. Raises what
    `hcexp.run.checkpoint.read_checkpoint` raises.
    """
    from hcexp.run.checkpoint import Loaded, read_checkpoint, tokenizer_of  # whoever lists runs does without torch

    found = read_checkpoint(Path(run), None if checkpoint is None else Path(checkpoint))
    tokenizer = tokenizer_of(found.config) if "tokenizer" in found.config.data else None
    return Loaded(found.model().eval(), tokenizer, found.config)
