"""What a suite asks of each of its sets."""

import os
from abc import ABC, abstractmethod

from hcexp.data import TextTokenizer, TokenStore


class ValidationSet(ABC):
    """A set that a model is evaluated on, wherever it comes from."""

    @property
    @abstractmethod
    def checksum(self) -> str:
        """Says which set it is, in hex; nothing is downloaded or tokenised for it."""

    @abstractmethod
    def open(
        self,
        tokenizer: TextTokenizer,
        cache: str | os.PathLike,
        *,
        documents: int | None = None,
        max_tokens: int | None = None,
        verify: bool = True,
    ) -> TokenStore:
        """The set, or its first documents or tokens, as a token store, made unless the cache has it.

        `verify` compares what is there with its checksums. Raises ValueError if the set cannot be read or has no text.
        """
