"""The data module that Hydra builds: text in, batches of next-token prediction out."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from lightning import LightningDataModule

from hcexp.data import corpus
from hcexp.data.loader import Batch, MicroBatches, StepLoader, rewind_to_step
from hcexp.data.text.mixture import Mixture
from hcexp.data.text.source import TextSource
from hcexp.data.text.tokens.prepare import fingerprint, prepare
from hcexp.data.text.tokens.shards import TokenStore
from hcexp.data.text.tokens.tokenizer import TextTokenizer


class TextData(LightningDataModule):
    """Batches of a text corpus, the same for every model that is trained with the same seed.

    A batch is `(inputs, targets)`, int64, each of shape (batch, sequence_length), targets one token ahead.
    Without `files`, `hub` and `mixture` the corpus is the shipped one.

    Args:
        files, hub, config, split, column, revision, data_files, url_list, file_seed, document_start: where the
            documents come from; see `TextSource`.
        mixture: in place of these several sources, each with its share of the tokens; see `Mixture`.
        tokenizer: a `tokenizer.json`, a folder with one, or a name on the hub; None for the shipped one.
        eos: the token that ends a document.
        sequence_length: tokens a sequence.
        batch_size: sequences an optimiser step, over all processes and micro-batches.
        max_tokens: length of the token stream; None for all of the corpus.
        cache: folder of the token stores.
        seed: of the order of the sequences.
        workers: processes that tokenise, and later read the batches; 0 does both in this process.
        verify: compare the token store with its checksums when it is opened.
        vocabulary_size: the model's, to check the tokenizer's ids against; None to skip that.

    Attributes:
        validation: gives the loaders of the validation sets for (rank, world_size), to be set from outside:
            Lightning asks a data module for them where there is one, and not the LightningModule.

    Raises:
        ValueError: an argument is out of range.
    """

    validation: Callable[[int, int], list] | None = None

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
        mixture: Mapping[str, Mapping[str, Any]] | None = None,
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
    ):
        super().__init__()
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
        if files is None and hub is None:
            files = corpus.TRAIN if mixture is None else None
        one = (files, hub, config, split, column, revision, data_files, url_list, file_seed, document_start)
        if mixture is None:
            self.source = TextSource(*one)
        elif files is None and hub is None:
            self.source = Mixture(mixture)
        else:
            raise ValueError(f"data.mixture goes without files and hub: files={files!r}, hub={hub!r}")
        self.sequence_length, self.batch_size, self.max_tokens = sequence_length, batch_size, max_tokens
        self.cache, self.seed, self.workers, self.verify = cache, seed, workers, verify
        self._tokenizer = (tokenizer, eos, vocabulary_size)
        self.store: TokenStore | None = None

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer, checked against the model's vocabulary."""
        return TextTokenizer(*self._tokenizer)

    @property
    def fingerprint(self) -> str:
        """Names the token stream by the content of source and tokenizer; nothing is tokenised for it."""
        return fingerprint(self.source, self.tokenizer, self.max_tokens)

    @property
    def sequences(self) -> int:
        """Whole sequences of the corpus: one epoch."""
        return self._batches().sequences

    def prepare_data(self) -> None:
        """Tokenise the corpus unless the cache has it; Lightning calls it in one process a node."""
        self._open(self.verify)

    def setup(self, stage: str | None = None) -> None:
        """Open the token store.

        Raises:
            ValueError: the corpus is shorter than one sequence, or a shard is damaged.
        """
        if self.store is not None:
            return
        one_of_many = self.trainer is not None and self.trainer.local_rank > 0
        store = self._open(self.verify and not one_of_many)  # one process a node need verify it
        if store.tokens <= self.sequence_length:
            raise ValueError(
                f"{self.source} has {store.tokens} tokens, and a sequence of data.sequence_length="
                f"{self.sequence_length} needs {self.sequence_length + 1}"
            )
        self.store = store

    def batch(self, step: int) -> Batch:
        """The global batch of optimiser step `step` (from 0), each of shape (batch_size, sequence_length)."""
        return self._batches()[step]

    def example(self, rows: int) -> Batch:
        """A made-up batch of this many sequences, for what only depends on shapes; no text is read for it."""
        tokens = torch.randint(self._tokenizer[2] or self.tokenizer.vocabulary_size, (rows, self.sequence_length + 1))
        return tokens[:, :-1], tokens[:, 1:]

    def train_dataloader(self) -> StepLoader:
        """Micro-batches of this process from the trainer's current optimiser step to `trainer.max_steps`.

        Raises:
            ValueError: no trainer, or one without `max_steps`; a batch that cannot be cut evenly.
        """
        trainer = self.trainer
        if trainer is None:
            raise ValueError("train_dataloader needs a Trainer; without one use batch(step)")
        if trainer.max_steps < 0:
            raise ValueError(f"trainer.max_steps={trainer.max_steps}: allowed is 0 or more optimiser steps")
        batches = self._batches(trainer.accumulate_grad_batches, trainer.global_rank, trainer.world_size)
        rewind_to_step(trainer)
        return StepLoader(batches, lambda: trainer.global_step, trainer.max_steps, self.workers)

    def val_dataloader(self) -> list:
        """The loaders of the validation sets, none if `validation` is not set."""
        return self.validation(self.trainer.global_rank, self.trainer.world_size) if self.validation else []

    def _batches(self, accumulate: int = 1, rank: int = 0, world_size: int = 1) -> MicroBatches:
        self.setup()
        return MicroBatches(self.store, self.sequence_length, self.batch_size, self.seed, accumulate, rank, world_size)

    def _open(self, verify: bool) -> TokenStore:
        return prepare(
            self.source,
            self.tokenizer,
            self.cache,
            max_tokens=self.max_tokens,
            verify=verify,
            workers=self.workers,
        )
