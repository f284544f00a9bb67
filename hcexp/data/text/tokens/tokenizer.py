"""Text to token ids: any tokenizer that `tokenizers` reads, with the token that ends a document."""

import difflib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from hcexp.data import corpus
from hcexp.data.text.source import one_line
from hcexp.data.text.tokens.words import WordTable, cuts_words_alike
from hcexp.disk.checksum import checksum


class TextTokenizer:
    """A tokenizer and its end-of-document token.

    Args:
        name: a `tokenizer.json`, a folder with one, or a model's name on the hub; None for the shipped one.
        eos: the token put before the first document and after each.
        vocabulary_size: the model's, to check that it has an embedding for every id; None to skip that.

    Raises FileNotFoundError if there is no such file, ConnectionError if the hub does not give it, and ValueError if it
    is no tokenizer, has no such `eos`, or ids beyond `vocabulary_size`.
    """

    def __init__(self, name: str | os.PathLike | None = None, eos: str = "<|endoftext|>",
                 vocabulary_size: int | None = None):  # fmt: skip
        self.name = str(corpus.TOKENIZER if name is None else name)
        self._tokenizer = _load(self.name)
        # A file may carry the truncation and padding of its training.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        # Text that spells a special token is text: it must not end a document.
        self._tokenizer.encode_special_tokens = True
        self.eos, self.eos_id = eos, self._tokenizer.token_to_id(eos)
        if self.eos_id is None:
            raise ValueError(f"eos={eos!r} is not in the tokenizer {self.name}{self._near(eos)}")
        # Not the count: ids may have gaps.
        self.vocabulary_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        if vocabulary_size is not None and self.vocabulary_size > vocabulary_size:
            raise ValueError(
                f"vocabulary_size={vocabulary_size}: the tokenizer {self.name} has ids up to "
                f"{self.vocabulary_size - 1}; allowed is at least {self.vocabulary_size}"
            )

    @cached_property
    def checksum(self) -> str:
        """Of the whole tokenizer: vocabulary, merges, normaliser and all, and of `eos`."""
        return checksum(self.to_json(), self.eos)

    def to_json(self) -> str:
        """The tokenizer as the text of a `tokenizer.json`."""
        return self._tokenizer.to_str()

    def encode(self, texts: list[str]) -> Iterator[np.ndarray]:
        """The ids of each text, uint32, shape (tokens,), without any special token."""
        if self._words is not None:
            yield from map(self._words.encode, texts)
            return
        # Threaded over the texts. Said aloud, so that processes forked later do not each warn about it.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            yield np.array(encoding.ids, dtype=np.uint32)

    @cached_property
    def _words(self) -> WordTable | None:
        return WordTable(self._tokenizer) if cuts_words_alike(self._tokenizer) else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_words"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tokenizer.encode_special_tokens = True  # which the pickle of a tokenizer leaves out

    def decode(self, ids: np.ndarray | list[int]) -> str:
        """The text that the ids stand for, special tokens included."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def prefix(self, text: str, tokens: int) -> str:
        """The part of `text` that its first `tokens` tokens stand for."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets[:tokens]
        return text[: max((end for _, end in offsets), default=0)]

    def _near(self, eos: str) -> str:
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        added = self._tokenizer.get_added_tokens_decoder().values()
        special = [token.content for token in added if token.special]
        near = list(dict.fromkeys(difflib.get_close_matches(eos, vocabulary, n=3) + special[:5]))
        return f"; near ones and special tokens: {', '.join(near)}" if near else ""


def _load(name: str) -> Tokenizer:
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"tokenizer={name!r}: no tokenizer.json in this folder")
    if path.is_file():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises a bare Exception
            raise ValueError(f"tokenizer={name!r} is not a tokenizer: {one_line(error)}") from error
    if path.suffix == ".json" or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"tokenizer={name!r}: there is no such file")
    try:
        return Tokenizer.from_pretrained(name)
    except Exception as error:
        raise ConnectionError(f"tokenizer={name!r} is no file, nor on the hub: {one_line(error)}") from error
