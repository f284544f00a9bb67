"""How a checkpoint reaches the disk."""

import errno
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

PARTIAL = ".partial"  # suffix of a file that is still being written


class CheckpointFile(TorchCheckpointIO):
    """Streams a checkpoint into a file beside its place, then renames it: under its name it is always whole.

    Lightning's own way holds the whole checkpoint in memory a second time and stages it in the system's
    temporary folder, from where it is copied if that is another disk; a full disk then leaves half a file
    under the name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None):
        """Write `checkpoint` (what `torch.save` takes) to `path`.

        Raises:
            OSError: with `ENOSPC` and one line if the disk fills up; nothing of this checkpoint is left
                behind and an earlier one of the same name stays.
        """
        path = Path(path)
        partial = path.with_name(path.name + PARTIAL)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())  # or the rename could survive a power cut that the content did not
            os.replace(partial, path)
            sync_folder(path.parent)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if _disk_full(error):
                line = f"the disk is full, checkpoint {path} was not written: make room and start again"
                raise OSError(errno.ENOSPC, line) from error
            raise


def sync_folder(folder: Path) -> None:
    """Have a rename within `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_full(error: BaseException | None) -> bool:
    # torch.save turns the error of a write into its own RuntimeError and keeps the cause as context.
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
