"""The journal of all studies among the runs: Optuna's storage in one file, safe against writers that are killed."""

import os
from pathlib import Path

from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

JOURNAL = "studies.journal"
BLOCK = 4096  # bytes; a line of the journal is shorter, as a rule


def open_journal(path: str | Path) -> JournalStorage:
    """The journal as a storage of Optuna's, which any number of processes may have open; made if it is not there.

    A process that is killed holds up no other one, and half a line that it left, or for which a full disk had no room,
    is taken back before the next one is written. Raises ValueError if a line cannot be read, OSError if none can be
    written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(_Backend(str(path), lock_obj=_Lock(path)))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): move it away, and the same command finds finished runs by their folders"
        ) from None


def exclusive(path: str | Path) -> FileLock:
    """A lock for what takes several writes to the journal at `path`, such as entering trials that are not in it yet."""
    return FileLock(f"{path}.entering")


class _Backend(JournalFileBackend):
    def append_logs(self, logs: list[dict]) -> None:
        try:
            super().append_logs(logs)
        except OSError as error:
            reason = f"{self._file_path} cannot be written ({error.strerror}): mend this, and the same command goes on"
            raise OSError(error.errno, reason) from error


class _Lock:
    """A flock, which ends with its process; Optuna's own locks are files, which others wait for when it is dead."""

    def __init__(self, path: Path):
        self._path = path
        self._lock = FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        try:
            self._take_back_half_a_line()
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        self._lock.release()

    def _take_back_half_a_line(self) -> None:
        """What is written behind half a line makes one line with it, which nobody can read."""
        with open(self._path, "rb") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - BLOCK)
                file.seek(start)
                if (newline := file.read(end - start).rfind(b"\n")) >= 0:
                    end = start + newline + 1
                    break
                end = start
        if end < size:
            os.truncate(self._path, end)
