"""How a checkpoint reaches the disk."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from hcexp.disk.atomic import atomic_write


class CheckpointFile(TorchCheckpointIO):
    """Streams a checkpoint into a file beside its place, then renames it: under its name it is always whole.

    Lightning's own way holds the whole checkpoint in memory a second time and stages it in the system's temporary
    folder, from where it is copied if that is another disk; a full disk then leaves half a file under the name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None):
        """Write what `torch.save` takes to `path`; raises what `atomic_write` raises, and then leaves nothing."""
        with atomic_write(Path(path), "wb") as file:
            torch.save(checkpoint, file)
