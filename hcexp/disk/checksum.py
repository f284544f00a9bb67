"""Checksums of files and of what is derived from them; a large file is hashed once, until it is changed."""

import hashlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

CHECKSUMS = "checksums.jsonl"  # in a cache: a line a file
LEAST = 1 << 23  # bytes; a smaller file is hashed in some milliseconds
# A file that was written so short a time before it was read (nanoseconds) could be changed again and look the same.
FRESH = 2_000_000_000

State = tuple[str, int, int, int, int]  # path, size, inode, and the times of its last change, in nanoseconds


def file_checksum(path: Path, cache: Path | None = None) -> str:
    """sha256 of the file's bytes, in hex; remembered as long as the file is not touched.

    Args:
        path: of the file.
        cache: a folder that remembers it for other processes; None to remember it in this one alone.

    Raises:
        OSError: the file cannot be read.
    """
    stat = path.stat()
    state = (str(path.resolve()), stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
    return _hash(state) if cache is None or stat.st_size < LEAST else _remembered(state, Path(cache).expanduser())


def checksum(*parts: Any) -> str:
    """sha256, in hex, of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _hash(state: State) -> str:
    with open(state[0], "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _remembered(state: State, folder: Path) -> str:
    memory = _memory(folder)
    try:
        if found := memory.find(state):
            return found
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(memory.path.with_suffix(".lock")):  # others need not hash it at the same time
            if found := memory.find(state):
                return found
            found = _hash(state)
            if time.time_ns() - max(state[-2:]) > FRESH:
                memory.add(state, found)
            return found
    except OSError:  # a cache that cannot be written is no reason to stop; of a file that cannot be read this raises
        return _hash(state)


class _Memory:
    """Lines of `CHECKSUMS`; those that are damaged count for nothing."""

    def __init__(self, folder: Path):
        self.path = folder / CHECKSUMS
        self._found: dict[State, str] = {}
        self._read = 0  # bytes

    def find(self, state: State) -> str | None:
        """The checksum of a file in this state, if any process has noted it."""
        if self.path.is_file():
            if self.path.stat().st_size < self._read:  # somebody has begun it anew
                self._found, self._read = {}, 0
            with self.path.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    self._note(line)
                self._read = file.tell()
        return self._found.get(state)

    def add(self, state: State, found: str) -> None:
        """Note a checksum, while the lock is held."""
        line = json.dumps([*state, found]).encode()
        with self.path.open("ab") as file:
            file.write(b"\n" + line + b"\n")  # after what a process that was killed may have left of a line

    def _note(self, line: bytes) -> None:
        try:
            *state, found = json.loads(line)
            if len(state) == 5 and len(bytes.fromhex(found)) == 32:
                self._found[tuple(state)] = found
        except (ValueError, TypeError):
            return


_memory = cache(_Memory)
