"""How a file reaches the disk: written beside its place, then renamed, so that under its name it is always whole."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PARTIAL = ".partial"  # the end of a file's name while it is written


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO]:
    """A file to write, which takes the place of `path` at the end of the block; its folder is made if need be.

    Whatever happens, and be it a power cut, `path` is the old file, the new one, or not there. Text is UTF-8, its
    lines end as they are written. Who writes the same file meanwhile, waits.

    Raises:
        OSError: in one line, with the `errno` of what happened; the old file is still there, and nothing else.
    """
    partial = path.with_name(f"{path.name}{PARTIAL}")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, mode, opener=_alone, **text) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())  # or the rename could survive a power cut that the content did not
                os.replace(partial, path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        _sync(path.parent)
    except (OSError, RuntimeError) as error:
        if cause := _of_the_disk(error):
            full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = ": make room, and the same command goes on" if full else ""
            raise OSError(cause.errno, f"{path} was not written ({cause.strerror}){advice}") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file at once, see `atomic_write`."""
    with atomic_write(path) as file:
        file.write(text)


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write a file at once, see `atomic_write`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _alone(path: str, flags: int) -> int:
    """Open a file that is written by one process at a time, and others wait; what a killed one left is overwritten."""
    while True:
        descriptor = os.open(path, flags & ~os.O_TRUNC, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # else it was renamed while this one waited
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Have a rename within `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _of_the_disk(error: BaseException | None) -> OSError | None:
    # torch.save turns the error of a write into its own RuntimeError and keeps the cause as context.
    while isinstance(error, RuntimeError):
        error = error.__cause__ or error.__context__
    return error if isinstance(error, OSError) and error.errno else None
