"""Where documents come from: local files or a hub dataset, both read through `datasets` in streaming mode."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.data.checksum import checksum, file_checksum

if TYPE_CHECKING:  # importing it takes 1.3 s, and a run whose tokens are cached does not need it
    from datasets import IterableDataset

FORMATS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
COMPRESSIONS = (".gz",)  # of the text formats; parquet is compressed inside

# A batch of documents ends at whichever comes first: it bounds the memory of what is encoded at once.
BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 1 << 22


class TextSource:
    """Documents of local files, or of a dataset on the hub.

    Args:
        files: a file, a glob, a folder (searched through), or a list of these; sorted within each.
            `.txt` is one document a file; `.jsonl`, `.json` (an object a line) and `.parquet` one a row.
        hub: name of a dataset on the hub, in place of `files`.
        config: the hub dataset's configuration.
        split: the hub dataset's split.
        column: the column that holds the text.
        revision: the hub dataset's revision: a branch, tag or commit.

    Raises:
        ValueError: not exactly one of `files` and `hub`; a file of unknown format.
        FileNotFoundError: a file, or any file of a glob or folder, is missing.
    """

    def __init__(
        self,
        files: str | os.PathLike | Iterable[str | os.PathLike] | None = None,
        hub: str | None = None,
        config: str | None = None,
        split: str = "train",
        column: str = "text",
        revision: str | None = None,
    ):
        if (files is None) == (hub is None):
            raise ValueError(f"give one of files and hub, not both or neither: files={files!r}, hub={hub!r}")
        self.files = None if files is None else find_files(files)
        self.hub, self.config, self.split, self.column, self.revision = hub, config, split, column, revision

    def __str__(self) -> str:
        if self.hub is not None:
            return "/".join(filter(None, [self.hub, self.config, self.split]))
        first = str(self.files[0])
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"

    @cached_property
    def checksum(self) -> str:
        """Of the content: the files' bytes in their order; of a hub dataset its name, split and revision."""
        if self.hub is not None:
            return checksum(self.hub, self.config, self.split, self.column, self.revision)
        return checksum(self.column, [(_format(path), file_checksum(path)) for path in self.files])

    def documents(self) -> Iterator[list[str]]:
        """Batches of non-empty documents, in the order of the files and of their rows.

        Raises:
            ValueError: a file is broken, or has no such column of text.
            ConnectionError: the hub cannot be reached, or has no such dataset.
        """
        tables = self._hub_texts() if self.hub is not None else self._file_texts()
        batch, characters = [], 0
        for texts in tables:
            for text in texts:
                if not text:  # a null, or nothing to learn from
                    continue
                batch.append(text)
                characters += len(text)
                if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
                    yield batch
                    batch, characters = [], 0
        if batch:
            yield batch

    def _file_texts(self) -> Iterator[list[str | None]]:
        from datasets import IterableDataset

        # Not `load_dataset`, which reports each load over the network.
        readers = {
            "text": partial(IterableDataset.from_text, sample_by="document"),
            "json": IterableDataset.from_json,
            "parquet": IterableDataset.from_parquet,
        }
        for path in self.files:  # one at a time, so that an error can name the file
            format_ = _format(path)
            try:
                yield from self._texts(path, partial(readers[format_], str(path)), format_)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not UTF-8 text: {_line(error)}") from error
            except _ColumnError:
                raise
            except (ValueError, TypeError, EOFError, OSError, ImportError) as error:
                raise ValueError(f"{path} cannot be read as {format_}: {_line(error)}") from error

    def _hub_texts(self) -> Iterator[list[str | None]]:
        from datasets import load_dataset

        load = partial(load_dataset, self.hub, self.config, split=self.split, revision=self.revision)
        try:
            yield from self._texts(self, partial(load, streaming=True))
        except _ColumnError:
            raise
        except ValueError as error:  # no such configuration or split: the message lists those there are
            raise ValueError(f"hub dataset {self}: {_line(error)}") from error
        except Exception as error:  # whatever the HTTP libraries raise
            raise ConnectionError(f"hub dataset {self} cannot be read: {_line(error)}") from error

    def _texts(
        self, origin: object, load: Callable[..., "IterableDataset"], format_: str | None = None
    ) -> Iterator[list[str | None]]:
        from datasets.utils import logging

        logging.set_verbosity(logging.CRITICAL)  # it logs what it then raises
        column = "text" if format_ == "text" else self.column
        try:
            rows = load()
        except StopIteration:  # what the json reader makes of an empty file
            return
        if rows.features is not None and len(rows.features) > 1:
            self._check_column(origin, column, list(rows.features))
            # Of parquet the other columns stay on the disk; elsewhere they are read anyway.
            rows = load(columns=[column]) if format_ == "parquet" else rows.select_columns([column])
        for table in rows.with_format("arrow").iter(batch_size=256):
            self._check_column(origin, column, table.column_names)
            type_ = str(table.schema.field(column).type)
            if type_ not in ("string", "large_string", "string_view", "null"):
                raise _ColumnError(f"{origin}: column {column!r} holds {type_}, not text")
            yield table[column].to_pylist()

    @staticmethod
    def _check_column(origin: object, column: str, columns: list[str]) -> None:
        if column not in columns:
            raise _ColumnError(f"{origin} has no column {column!r}; its columns are: {', '.join(columns)}")


class _ColumnError(ValueError):
    """A message that already says which file and what to change."""


def find_files(files: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    """The files that a path, glob or folder, or a list of these, stands for.

    Raises:
        FileNotFoundError: one of them stands for no file.
        ValueError: a file of unknown format, or an empty list.
    """
    if isinstance(files, str | os.PathLike):
        files = [files]
    found = [path for entry in files for path in _find(Path(entry).expanduser())]
    if not found:
        raise ValueError("files is an empty list: give a file, a glob or a folder")
    for path in found:
        _format(path)
    return found


def _find(entry: Path) -> list[Path]:
    if entry.is_file():
        return [entry]
    if entry.is_dir():
        found = sorted(path for path in entry.rglob("*") if path.is_file() and _suffix(path) in FORMATS)
        if not found:
            raise FileNotFoundError(f"files={str(entry)!r}: no {_formats()} in this folder")
        return found
    found = sorted(path for path in map(Path, glob.glob(str(entry), recursive=True)) if path.is_file())
    if not found:
        raise FileNotFoundError(f"files={str(entry)!r}: no such file, and a glob that matches nothing")
    return found


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def _format(path: Path) -> str:
    if _suffix(path) not in FORMATS:
        raise ValueError(f"{path}: unknown format; known are {_formats()}")
    return FORMATS[_suffix(path)]


def _formats() -> str:
    return f"{' '.join(FORMATS)} (text also with {' '.join(COMPRESSIONS)})"


def _line(error: BaseException) -> str:
    """The error's message as one line of bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__
