"""A shard, as it is read."""

import os
from pathlib import Path

import numpy as np


class ShardFile:
    """A flat file of tokens, read by plain calls. Raises OSError, in one line, if it cannot be opened.

    A memory map is no faster, and where the file has been cut or the disk fails, it kills the process without a word.
    """

    _descriptor = None

    def __init__(self, path: Path, dtype: np.dtype):
        self.path, self.dtype = path, dtype
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens [start, stop) of the file, shape (stop - start,); OSError, in one line, if it does not give them."""
        wanted, offset = (stop - start) * self.dtype.itemsize, start * self.dtype.itemsize
        data = b""
        try:
            while len(data) < wanted:  # one call reads all, up to 2 GiB
                part = os.pread(self._descriptor, wanted - len(data), offset + len(data))
                if not part:
                    raise OSError(f"it ends at byte {offset + len(data)}")
                data += part
        except OSError as error:
            raise self._unreadable(error) from error
        return np.frombuffer(data, self.dtype)

    def _unreadable(self, error: OSError) -> OSError:
        reason = error.strerror or str(error)
        return OSError(
            f"shard {self.path} cannot be read ({reason}): mend that, or delete {self.path.parent}, which the same "
            "command then makes anew"
        )

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
