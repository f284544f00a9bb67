"""A validation set of text: the documents of files or of a hub dataset."""

import os
from collections.abc import Iterator

from hcexp.data import TextSource, TextTokenizer, TokenStore, prepare
from hcexp.disk.checksum import checksum
from hcexp.evaluation.perplexity.validation_set import ValidationSet


class TextSet(TextSource, ValidationSet):
    """Documents that a model is evaluated on; the arguments are those of `TextSource`."""

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
        source = self if documents is None else FirstDocuments(self, documents)
        return prepare(source, tokenizer, cache, max_tokens=max_tokens, verify=verify)


class FirstDocuments:
    """The beginning of a source: what `prepare` asks of a `TextSource`, and no more."""

    def __init__(self, source: TextSource, documents: int):
        self._source, self._documents = source, documents

    def __str__(self) -> str:
        return f"the first {self._documents} documents of {self._source}"

    @property
    def checksum(self) -> str:
        """Of the source's content, and of how much of it this is."""
        return checksum(self._source.checksum, self._documents)

    def documents(self) -> Iterator[list[str]]:
        """Batches of non-empty documents; raises what the source raises."""
        left = self._documents
        for batch in self._source.documents():
            yield batch[:left]
            left -= len(batch)
            if left <= 0:
                return
