"""How a checkpoint reaches the disk."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from hcexp.disk.atomic import atomic_write


class CheckpointFile(TorchCheckpointIO):
    """Streams a checkpoint into a file beside its place, then renames it: under its name it is always whole.

    Lightning's own way holds the whole checkpoint in memory a second time and stages it in the system's
    temporary folder, from where it is copied if that is another disk; a full disk then leaves half a file
    under the name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None):
        """Write `checkpoint` (what `torch.save` takes) to `path`.

        Raises:
            OSError: in one line, with `ENOSPC` if the disk fills up; nothing of this checkpoint is left
                behind and an earlier one of the same name stays.
        """
        with atomic_write(Path(path), "wb") as file:
            torch.save(checkpoint, file)
