"""Checksums of files and of what is derived from them; a file is hashed once a process."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any


def file_checksum(path: Path) -> str:
    """sha256 of the file's bytes, in hex; remembered within the process as long as the file is not touched.

    Raises:
        OSError: the file cannot be read.
    """
    stat = path.stat()
    return _hash(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _hash(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(*parts: Any) -> str:
    """sha256, in hex, of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
