"""The data module of text: documents in, batches of next-token prediction out."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from hcexp.data import corpus
from hcexp.data.batches import Batch
from hcexp.data.data import Data, require_batch_size
from hcexp.data.text.mixture import Mixture, make_source
from hcexp.data.text.samples import TokenSamples
from hcexp.data.text.source import Source
from hcexp.data.text.tokens.prepare import fingerprint, prepare
from hcexp.data.text.tokens.shards import TokenStore
from hcexp.data.text.tokens.tokenizer import TextTokenizer


class TextData(Data):
    """Batches of a text corpus, the same for every model that is trained with the same seed.

    A batch is `(inputs, targets)`, int64, each of shape (batch, sequence_length), targets one token ahead. Making one
    reads no file: the corpus and the tokenizer are looked for when they are used.

    Args:
        tokenizer: a `tokenizer.json`, a folder with one, or a name on the hub; None for the shipped one.
        eos: the token that ends a document.
        sequence_length: tokens a sequence.
        batch_size: sequences an optimiser step, over all processes and micro-batches.
        max_tokens: length of the token stream; None for all of the corpus.
        cache: folder of the token stores, of orders of very many sequences, and of what is known of large files.
        seed: of the order of the sequences.
        workers: processes that tokenise, and later read the batches; 0 does both in this process.
        verify: compare the token store with its checksums when it is opened.
        vocabulary_size: the model's, to check the tokenizer's ids against; None to skip that.
        source: `files`, with what else `LocalSource` takes; or `hub`, with what `HubSource` takes; or `mixture`, see
            `Mixture`. Without any of the three the corpus is the shipped one.

    Raises ValueError for an argument that is out of range, or does not go with another.
    """

    def __init__(
        self,
        *,
        tokenizer: str | os.PathLike | None = None,
        eos: str = "<|endoftext|>",
        sequence_length: int = 256,
        batch_size: int = 16,
        max_tokens: int | None = None,
        cache: str | os.PathLike = "cache",
        seed: int = 0,
        workers: int = 0,
        verify: bool = True,
        vocabulary_size: int | None = None,
        **source: Any,
    ):
        limits = {
            "sequence_length": (sequence_length, 1),
            "batch_size": (batch_size, 1),
            "max_tokens": (max_tokens, 2),
            "seed": (seed, 0),
            "workers": (workers, 0),
            "vocabulary_size": (vocabulary_size, 1),
        }
        for name, (value, least) in limits.items():
            if value is not None and value < least:
                raise ValueError(f"data.{name}={value}: allowed is at least {least}")
        require_batch_size(batch_size, sequence_length)
        self.cache = Path(cache).expanduser()
        if all(source.get(kind) is None for kind in ("files", "hub", "mixture")):
            source["files"] = corpus.TRAIN
        self.source: Source | Mixture = make_source(source, self.cache)
        self.sequence_length, self.batch_size, self.max_tokens = sequence_length, batch_size, max_tokens
        self.seed, self.workers, self.verify = seed, workers, verify
        self.tokens_per_step = batch_size * sequence_length
        self._tokenizer = (tokenizer, eos, vocabulary_size)

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer, checked against the model's vocabulary."""
        return TextTokenizer(*self._tokenizer)

    @property
    def fingerprint(self) -> str:
        """Names the token stream by the content of source and tokenizer; nothing is tokenised for it."""
        try:
            return fingerprint(self.source, self.tokenizer, self.max_tokens)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"data.{error}" if str(error).startswith("files=") else str(error)) from error

    @cached_property
    def samples(self) -> TokenSamples:
        """The sequences of the corpus, tokenised once; ValueError if none is whole, or a shard is damaged."""
        store = prepare(self.source, self.tokenizer, self.cache, max_tokens=self.max_tokens, verify=self.verify,
                        workers=self.workers)  # fmt: skip
        if store.tokens <= self.sequence_length:
            raise ValueError(
                f"{self.source} has {store.tokens} tokens, and a sequence of data.sequence_length="
                f"{self.sequence_length} needs {self.sequence_length + 1}"
            )
        return TokenSamples(store, self.sequence_length)

    @property
    def store(self) -> TokenStore:
        """The token stream of the samples."""
        return self.samples.store

    def example(self, rows: int) -> Batch:
        tokens = torch.randint(self._tokenizer[2] or self.tokenizer.vocabulary_size, (rows, self.sequence_length + 1))
        return tokens[:, :-1], tokens[:, 1:]
