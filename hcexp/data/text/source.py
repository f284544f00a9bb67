"""Where documents come from: local files or a dataset on the hub."""

import copy
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from typing import NamedTuple

from hcexp.data.text import hub as on_hub
from hcexp.data.text.files import find_files, format_of
from hcexp.data.text.reading import ColumnError, Texts, expected_bytes, read_texts
from hcexp.disk.checksum import checksum, file_checksum

__all__ = ["Document", "Position", "TextSource", "find_files"]

# A batch of documents ends at whichever comes first: it bounds the memory of what is encoded at once.
BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 1 << 22

Position = tuple[int, int]  # rows before it: all of so many files, and so many of the next


class Document(NamedTuple):
    """A text that is not empty, and where the next one begins."""

    text: str
    end: Position


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
        data_files: files of the hub dataset's repository, a glob or several, in place of its configurations.
        url_list: a file of the hub dataset's repository with an address a line, in place of its configurations.
        file_seed: read the hub dataset's files in an order drawn with this seed, and not in that of their names, so
            that a stream with an end has of all of them; None for their own order.
        document_start: a regular expression: a row that it matches from its beginning starts a document, which goes on
            to the next such row; None if each row is one.

    Raises:
        ValueError: not exactly one of `files` and `hub`; what goes with a hub alone without one; both `data_files`
            and `url_list`; a file of unknown format; no regular expression.
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
        data_files: str | Iterable[str] | None = None,
        url_list: str | None = None,
        file_seed: int | None = None,
        document_start: str | None = None,
    ):
        if (files is None) == (hub is None):
            raise ValueError(f"give one of files and hub, not both or neither: files={files!r}, hub={hub!r}")
        of_hub = {"data_files": data_files, "url_list": url_list, "file_seed": file_seed}
        if hub is None and (given := [name for name, value in of_hub.items() if value is not None]):
            raise ValueError(f"{given[0]}={of_hub[given[0]]!r} goes with hub=…, and files={files!r} are local")
        if data_files is not None and url_list is not None:
            raise ValueError(f"give one of data_files={data_files!r} and url_list={url_list!r}, not both")
        try:
            self._starts = document_start if document_start is None else re.compile(document_start)
        except re.error as error:
            raise ValueError(f"document_start={document_start!r} is no regular expression: {error}") from error
        self.files = None if files is None else find_files(files)
        self.hub, self.config, self.split, self.column, self.revision = hub, config, split, column, revision
        self.data_files = [data_files] if isinstance(data_files, str) else data_files and list(data_files)
        self.url_list, self.file_seed, self.document_start = url_list, file_seed, document_start

    def __str__(self) -> str:
        if self.hub is not None:
            some = self.url_list or (self.data_files and ",".join(self.data_files))
            return "/".join(filter(None, [self.hub, some] if some else [self.hub, self.config, self.split]))
        first = str(self.files[0])
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"

    @cached_property
    def checksum(self) -> str:
        """Of the content: the files' bytes in their order; of a hub dataset its name, split and revision."""
        if self.hub is not None:
            content = checksum(self.hub, self.config, self.split, self.column, self.revision)
        else:
            content = checksum(self.column, [(format_of(path), file_checksum(path)) for path in self.files])
        more = [self.data_files, self.url_list, self.file_seed, self.document_start]
        return content if more == [None] * 4 else checksum(content, *more)

    def pinned(self, revision: str | None = None) -> "TextSource":
        """The same with the hub dataset at one commit: `revision`, or the one that its own stands for now.

        Raises:
            ConnectionError: the hub cannot be reached, or has no such dataset.
        """
        if self.hub is None:
            return self
        pinned = copy.copy(self)
        pinned.__dict__.pop("_parts", None)
        if revision is None:
            try:
                revision = on_hub.commit_of(self.hub, self.revision)
            except Exception as error:
                raise self._unreachable(error) from error
        pinned.revision = revision
        return pinned

    def documents(self) -> Iterator[list[str]]:
        """Batches of the texts of `read`; raises what it raises."""
        batch, characters = [], 0
        for document in self.read():
            batch.append(document.text)
            characters += len(document.text)
            if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
        if batch:
            yield batch

    def read(self, start: Position = (0, 0)) -> Iterator[Document]:
        """The documents from `start` on, which is the `end` of one, in the order of the files and of their rows.

        Raises:
            ValueError: a file is broken, or has no such column of text.
            ConnectionError: the hub cannot be reached, or has no such dataset.
        """
        joined, position = [], start
        for (file, row), texts in self._tables(start):
            for i, text in enumerate(texts, row):
                if self._starts is None:
                    if text:  # neither a null, nor nothing to learn from
                        yield Document(text, (file, i + 1))
                    continue
                if joined and self._starts.match(text or ""):
                    if whole := "".join(joined):
                        yield Document(whole, (file, i))
                    joined = []
                joined.append(text or "")
                position = (file, i + 1)
        if whole := "".join(joined):
            yield Document(whole, position)

    def share(self, position: Position, text_bytes: float) -> float:
        """About how much of the source is before `position`, from 0 to 1, if that was so much text."""
        if self.hub is not None:
            return position[0] / len(self._parts)
        return min(text_bytes / max(self._expected_bytes, 1), 1.0)

    @cached_property
    def _expected_bytes(self) -> int:
        return sum(expected_bytes(path, self.column) for path in self.files)

    @cached_property
    def _parts(self) -> list[on_hub.Part]:
        if self.hub is None:
            return [(str(path), partial(read_texts, str(path), self.column)) for path in self.files]
        if self.url_list is not None:
            parts = on_hub.listed_files(self.hub, self.revision, self.url_list, self.column)
        elif self.data_files is not None:
            parts = on_hub.matching_files(self.hub, self.revision, self.data_files, self.column)
        else:
            parts = on_hub.streamed_shards(self.hub, self.config, self.split, self.revision, self.column)
        if self.file_seed is not None:
            parts.sort(key=lambda part: checksum(self.file_seed, part[0]))
        return parts

    def _tables(self, start: Position) -> Iterator[tuple[Position, Texts]]:
        """The column's values in bounded lists, each with the position of its first."""
        origin = self
        try:
            for file in range(start[0], len(self._parts)):
                origin, read = self._parts[file]
                row = start[1] if file == start[0] else 0
                for texts in read(row):
                    yield (file, row), texts
                    row += len(texts)
        except ColumnError:
            raise
        except UnicodeDecodeError as error:
            raise ValueError(f"{origin} is not UTF-8 text: {_line(error)}") from error
        except Exception as error:
            if self.hub is None:
                if not isinstance(error, ValueError | TypeError | EOFError | OSError | ImportError):
                    raise
                raise ValueError(f"{origin} cannot be read as {format_of(origin)}: {_line(error)}") from error
            if isinstance(error, ValueError):  # no such configuration or split: the message lists those there are
                where = "" if origin is self else f", {origin}"
                raise ValueError(f"hub dataset {self}{where}: {_line(error)}") from error
            raise self._unreachable(error) from error  # whatever the HTTP libraries raise

    def _unreachable(self, error: Exception) -> ConnectionError:
        return ConnectionError(f"hub dataset {self} cannot be read: {_line(error)}")


def _line(error: BaseException) -> str:
    """The error's message as one line of bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__
