"""What every source of documents can be asked for."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hcexp.data.text.reading import Texts

Position = tuple[int, ...]  # rows before it: all of so many files, and so many of the next


class Document(NamedTuple):
    """A text that is not empty, and where the next one begins."""

    text: str
    end: Position


class Source(ABC):
    """Documents in an order that is always the same, which can be read from any of them on."""

    @property
    @abstractmethod
    def checksum(self) -> str:
        """Of what decides the documents, in hex. Raises FileNotFoundError if a file is missing."""

    @abstractmethod
    def read(self, start: Position = (0, 0)) -> Iterator[Document]:
        """The documents from `start` on, which is the `end` of one.

        Raises ValueError for a broken file or one without such a column of text, ConnectionError for want of the hub.
        """

    @abstractmethod
    def share(self, position: Position, text_bytes: float) -> float:
        """About how much of the source is before `position`, from 0 to 1, if that was so much text."""

    @property
    def weighted(self) -> "dict[str, tuple[float, Source]]":
        """The sources that this is put together from, by name, with their weights: itself alone."""
        return {str(self): (1.0, self)}


class Rows(Source):
    """A source of tables, a row of which is a document, or a part of one.

    Args:
        column: the column that holds the text.
        document_start: a regular expression: a row that it matches from its beginning starts a document, which goes on
            to the next such row; None if each row is one.

    Raises ValueError for no regular expression.
    """

    def __init__(self, column: str, document_start: str | None):
        try:
            self._starts = document_start if document_start is None else re.compile(document_start)
        except re.error as error:
            raise ValueError(f"document_start={document_start!r} is no regular expression: {error}") from error
        self.column, self.document_start = column, document_start

    @abstractmethod
    def tables(self, start: Position) -> Iterable[tuple[Position, Texts]]:
        """The column's values in bounded lists, each with the position of its first."""

    def read(self, start: Position = (0, 0)) -> Iterator[Document]:
        joined, position = [], start
        for (file, row), texts in self.tables(start):
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


def one_line(error: BaseException) -> str:
    """The error's message as one line of bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__
