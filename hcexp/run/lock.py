"""Who is at a run: a lock in its folder, which dies with its process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

LOCK = ".lock"  # in the run's folder; flock: whoever is at the run holds it
INHERITED = "HCEXP_RUN_LOCK"  # environment variable: number of a file descriptor that holds this run's lock already


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made, and taken away again if nothing else has come into it.

    Where the first of several processes holds it, or whoever started this one, there is nothing to do. While another
    process is at the run, this one waits.

    Raises ValueError if that other process would be waited for by several that were started together.
    """
    if rank_zero_only.rank or _is_inherited(directory):
        yield  # the lock belongs to what both have opened: releasing it here would take it from the other
        return
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if _started_together():
            raise ValueError(f"another process is at the run {directory}: start again when it is done") from None
        print(f"another process is at the run {directory}: waiting for it", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        _remove_unstarted(directory)
        lock.release()


def is_held(directory: Path) -> bool:
    """Whether a process is at the run; nothing is made where there is none."""
    if not (directory / LOCK).is_file():
        return False
    try:
        with FileLock(directory / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def _is_inherited(directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(int(os.environ[INHERITED])), os.stat(directory / LOCK))
    except (KeyError, ValueError, OSError):  # it is that of another run
        return False


def _started_together() -> bool:
    """Whether this process is one of several that torchrun or SLURM has started for one run."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 or (
        SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    )


def _remove_unstarted(directory: Path) -> None:
    """A run that could not start leaves no folder behind."""
    lock = directory / LOCK
    if list(directory.iterdir()) == [lock]:
        lock.unlink()
        directory.rmdir()
