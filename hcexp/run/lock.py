"""Who is at a run: a lock in its folder, which dies with the last process that has it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Self

LOCK = ".lock"  # in the run's folder; flock: whoever is at the run holds it
INHERITED = "HCEXP_RUN_LOCK"  # environment variable: number of a file descriptor that holds this run's lock already
POLL_SECONDS = 0.05


class RunLock:
    """The flock of a folder, held until every process that has it has closed it.

    Sent to a process that multiprocessing starts, it is the same lock there, not a second one. It is closed and never
    released: that would take it from the others who have it.
    """

    def __init__(self, fd: int):
        self._fd = fd

    @classmethod
    def take(cls, directory: Path) -> Self | None:
        """The lock of this folder, which is made; None if somebody else has it."""
        directory.mkdir(parents=True, exist_ok=True)
        taken = False
        with suppress(BlockingIOError, FileNotFoundError):  # a run that could not start takes its folder away
            fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken = os.path.samestat(os.fstat(fd), os.stat(directory / LOCK))
            finally:
                if not taken:
                    os.close(fd)
        return cls(fd) if taken else None

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def __reduce__(self) -> tuple:
        return _received, (DupFd(self._fd),)


def _received(sent: Any) -> RunLock:
    return RunLock(sent.detach())


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made, and taken away again if nothing else has come into it.

    Where the first of several processes holds it, or whoever started this one, there is nothing to do. While another
    process is at the run, this one waits.

    Raises ValueError if that other process would be waited for by several that were started together.
    """
    from lightning.pytorch.utilities import rank_zero_only  # seconds that whoever asks `is_held` does without

    if rank_zero_only.rank or _is_inherited(directory):
        yield
        return
    if (lock := RunLock.take(directory)) is None:
        if _started_together():
            raise ValueError(f"another process is at the run {directory}: start again when it is done")
        print(f"another process is at the run {directory}: waiting for it", flush=True)
        while (lock := RunLock.take(directory)) is None:
            time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        if [*directory.iterdir()] == [directory / LOCK]:  # a run that could not start
            (directory / LOCK).unlink()
            directory.rmdir()
        fcntl.flock(lock.fileno(), fcntl.LOCK_UN)  # also from what this process has forked
        lock.close()


def is_held(directory: Path) -> bool:
    """Whether a process is at the run; nothing is made where there is none."""
    if not (directory / LOCK).is_file():
        return False
    if (lock := RunLock.take(directory)) is not None:
        lock.close()
    return lock is None


def _is_inherited(directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(int(os.environ[INHERITED])), os.stat(directory / LOCK))
    except (KeyError, ValueError, OSError):  # it is that of another run
        return False


def _started_together() -> bool:
    """Whether this process is one of several that torchrun or SLURM has started for one run."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    return int(os.environ.get("WORLD_SIZE", 1)) > 1 or (
        SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    )
