"""A validation set of text: the documents of files or of a hub dataset."""

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from hcexp.data import Document, Position, Source, TextTokenizer, TokenStore, make_source, prepare
from hcexp.disk.checksum import checksum
from hcexp.evaluation.perplexity.validation_set import ValidationSet


class TextSet(ValidationSet):
    """Documents that a model is evaluated on; the arguments are those of `LocalSource` or `HubSource`."""

    def __init__(self, files: Any = None, **knobs: Any):
        self.source = make_source({"files": files, **knobs})

    def __str__(self) -> str:
        return str(self.source)

    @property
    def checksum(self) -> str:
        """Of the source's content."""
        return self.source.checksum

    def open(
        self,
        tokenizer: TextTokenizer,
        cache: str | os.PathLike,
        *,
        documents: int | None = None,
        max_tokens: int | None = None,
        verify: bool = True,
    ) -> TokenStore:
        """Tokenised once; see `ValidationSet.open` and `hcexp.data.text.tokens.prepare`."""
        source = self.source if documents is None else FirstDocuments(self.source, documents)
        return prepare(source, tokenizer, cache, max_tokens=max_tokens, verify=verify)


class FirstDocuments(Source):
    """The beginning of a source."""

    def __init__(self, source: Source, documents: int):
        self._source, self._documents = source, documents

    def __str__(self) -> str:
        return f"the first {self._documents} documents of {self._source}"

    @property
    def checksum(self) -> str:
        """Of the source's content, and of how much of it this is."""
        return checksum(self._source.checksum, self._documents)

    def read(self, start: Position = (0, 0)) -> Iterator[Document]:
        """The source's own documents; beside the position in it, theirs counts the documents before."""
        file, row, before = (*start, 0)[:3]
        for i, document in enumerate(islice(self._source.read((file, row)), self._documents - before), before + 1):
            yield Document(document.text, (*document.end, i))

    def share(self, position: Position, text_bytes: float) -> float:
        """By the documents, or where the source has fewer, as it says."""
        return max((*position, 0)[2] / self._documents, self._source.share(position[:2], text_bytes))
