"""Documents of files on this machine."""

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from hcexp.data.text.files import find_files, format_of
from hcexp.data.text.reading import ColumnError, Texts, expected_bytes, read_texts
from hcexp.data.text.source import Position, Rows, one_line
from hcexp.disk.checksum import checksum, file_checksum

Files = str | os.PathLike | Iterable[str | os.PathLike]


class LocalSource(Rows):
    """Documents of local files, which nobody looks for before they are used.

    Args:
        files: a file, a glob, a folder (searched through), or a list of these; sorted within each.
            `.txt` is one document a file; `.jsonl`, `.json` (an object a line) and `.parquet` one a row.
        column, document_start: see `Rows`.
        cache: a folder that remembers the files' checksums; None to hash them in each process.

    Raises ValueError for no regular expression and, once it is used, what `find_files` raises.
    """

    def __init__(
        self, files: Files, column: str = "text", document_start: str | None = None, *, cache: str | Path | None = None
    ):
        super().__init__(column, document_start)
        self._asked, self._cache = files, cache

    @cached_property
    def files(self) -> list[Path]:
        """Those that `files` stands for."""
        return find_files(self._asked)

    def __str__(self) -> str:
        first = str(self.files[0])
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"

    @cached_property
    def checksum(self) -> str:
        """Of the files' bytes in their order, and of how they are read; their names count for nothing."""
        content = checksum(self.column, [(format_of(path), file_checksum(path, self._cache)) for path in self.files])
        # Three more knobs are the hub's: the names of runs are made of this.
        return content if self.document_start is None else checksum(content, None, None, None, self.document_start)

    def share(self, position: Position, text_bytes: float) -> float:
        """By the bytes: files may differ much in size."""
        return min(text_bytes / max(self._expected_bytes, 1), 1.0)

    @cached_property
    def _expected_bytes(self) -> int:
        return sum(expected_bytes(path, self.column) for path in self.files)

    def tables(self, start: Position) -> Iterator[tuple[Position, Texts]]:
        for file, path in enumerate(self.files[start[0] :], start[0]):
            row = start[1] if file == start[0] else 0
            try:
                for texts in read_texts(str(path), self.column, row):
                    yield (file, row), texts
                    row += len(texts)
            except ColumnError:
                raise
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not UTF-8 text: {one_line(error)}") from error
            except (ValueError, TypeError, EOFError, OSError, ImportError) as error:
                raise ValueError(f"{path} cannot be read as {format_of(path)}: {one_line(error)}") from error
