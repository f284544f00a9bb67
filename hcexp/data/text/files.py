"""Which files a path stands for, and which of them can be read as text."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path, PurePath

FORMATS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}  # of the text formats; parquet is compressed inside
_KNOWN = f"{' '.join(FORMATS)} (text also with {' '.join(COMPRESSIONS)})"


def find_files(files: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    """The files that a path, glob or folder, or a list of these, stands for.

    Raises FileNotFoundError if one of them stands for none, ValueError for an unknown format or an empty list.
    """
    if isinstance(files, str | os.PathLike):
        files = [files]
    found = [path for entry in files for path in _find(Path(entry).expanduser())]
    if not found:
        raise ValueError("files is an empty list: give a file, a glob or a folder")
    for path in found:
        format_of(path)
    return found


def format_of(path: str | os.PathLike) -> str:
    """text, json or parquet, by the name of a file or address; raises ValueError if it is none of these."""
    if (suffix := _suffix(PurePath(path))) not in FORMATS:
        raise ValueError(f"{path}: unknown format; known are {_KNOWN}")
    return FORMATS[suffix]


def compression_of(path: str | os.PathLike) -> str | None:
    """gzip or zstd, by the name of a file or address; None without."""
    return COMPRESSIONS.get(PurePath(path).suffix)


def _find(entry: Path) -> list[Path]:
    if entry.is_file():
        return [entry]
    if entry.is_dir():
        found = (path for path in entry.rglob("*") if _suffix(path) in FORMATS)
        missing = f"no {_KNOWN} in this folder"
    else:
        found = map(Path, glob.glob(str(entry), recursive=True))
        missing = "no such file, and a glob that matches nothing"
    if files := sorted(path for path in found if path.is_file()):
        return files
    raise FileNotFoundError(f"files={str(entry)!r}: {missing}")


def _suffix(path: PurePath) -> str:
    return PurePath(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
