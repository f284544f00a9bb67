"""A suite: named validation sets that are evaluated together, and the names of their metrics."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from hcexp.data import TextTokenizer, TokenStore, corpus, find_files
from hcexp.data.text.files import COMPRESSIONS
from hcexp.disk.checksum import checksum
from hcexp.evaluation.perplexity.set_loss import SetLoss
from hcexp.evaluation.perplexity.text_set import TextSet
from hcexp.evaluation.perplexity.validation_set import ValidationSet
from hcexp.evaluation.perplexity.windows import IGNORED, Windows
from hcexp.evaluation.scoring import Watch, scoring

SUITES = ("v2", "v3", "embedded", "local")
SHIPPED = "shipped"

Files = str | os.PathLike | Iterable[str | os.PathLike]


class Suite:
    """Named validation sets.

    Metrics are called `<suite>/<set>/loss`, `…/perplexity`, `…/bits_per_byte`, and `<suite>/mean/…` for the
    arithmetic mean over the sets (of perplexities too: it is not the exponential of the mean loss).

    Args:
        suite: v2 or v3 (the paper's), embedded (the shipped sets) or local (one's own): nothing is called v2
            or v3 that is not.
        sets: "shipped", or a mapping of set names to files, to the arguments of `TextSet`, or to sets.
        files: in place of `sets`: a folder, a glob or a list; every file is one set named by its stem.
        column: the column that holds the text of `files` and of sets given as files.
        documents: documents a set, from its beginning, for a quick look; None for all.
        max_tokens: tokens a set, from its beginning; None for all.
        batch_size: windows a batch and process.
        every: optimiser steps between evaluations during training; None for one at the end. Only kept here.

    Raises:
        ValueError: an argument is out of range, or two sets have one name.
        FileNotFoundError: a file is missing.
    """

    def __init__(
        self,
        suite: str,
        sets: str | Mapping[str, Files | Mapping | ValidationSet] | None = None,
        files: Files | None = None,
        column: str = "text",
        documents: int | None = None,
        max_tokens: int | None = None,
        batch_size: int = 16,
        every: int | None = None,
    ):
        if suite not in SUITES:
            raise ValueError(f"evaluation.suite={suite!r}: allowed are {', '.join(SUITES)}")
        limits = {
            "documents": (documents, 1),
            "max_tokens": (max_tokens, 2),
            "batch_size": (batch_size, 1),
            "every": (every, 1),
        }
        for name, (value, least) in limits.items():
            if value is not None and value < least:
                raise ValueError(f"evaluation.{name}={value}: allowed is at least {least}")
        if (sets is None) == (files is None):
            raise ValueError(f"evaluation.sets={sets!r}, evaluation.files={files!r}: give one of the two")
        self.name, self.documents, self.max_tokens = suite, documents, max_tokens
        self.batch_size, self.every = batch_size, every
        if sets == SHIPPED:
            files, sets = corpus.VALIDATION, None
        self.sets: dict[str, ValidationSet] = _file_sets(files, column) if sets is None else _named_sets(sets, column)
        self._stores: list[TokenStore] = []

    @property
    def names(self) -> list[str]:
        """The sets' names, in the order of `dataloaders` and `losses`."""
        return list(self.sets)

    parts = names

    @property
    def fingerprint(self) -> str:
        """Of what is evaluated: the names and contents of the sets, and how much of them."""
        contents = [(name, source.checksum) for name, source in self.sets.items()]
        return checksum(self.name, contents, self.documents, self.max_tokens)

    def fingerprint_of(self, name: str) -> str:
        """Of the content of one set, and of how much of it is evaluated."""
        return checksum(self.sets[name].checksum, self.documents, self.max_tokens)

    def prepare(
        self,
        tokenizer: TextTokenizer,
        cache: str | os.PathLike,
        sequence_length: int,
        batch_size: int | None = None,
        verify: bool = True,
    ) -> None:
        """Tokenise the sets unless the cache has them, and open them; call it before the other methods.

        Args:
            tokenizer: the model's.
            cache: folder of the token stores.
            sequence_length: tokens a window; each window starts without context.
            batch_size: windows a batch, in place of the suite's own.
            verify: compare the stores with their checksums.

        Raises:
            ValueError: a set has no text, or cannot be read.
        """
        self.sequence_length, self.batch_size = sequence_length, batch_size or self.batch_size
        self._stores = [
            one.open(tokenizer, cache, documents=self.documents, max_tokens=self.max_tokens, verify=verify)
            for one in self.sets.values()
        ]

    def dataloaders(self, rank: int = 0, world_size: int = 1) -> list[Windows]:
        """One loader a set, of process `rank`'s share; see `Windows` for the batches.

        Raises:
            RuntimeError: `prepare` has not been called.
        """
        return [Windows(store, self.sequence_length, self.batch_size, rank, world_size) for store in self._prepared()]

    def score(self, model: torch.nn.Module, name: str, *, watch: Watch = iter) -> dict[str, float]:
        """One set's `loss`, `perplexity` and `bits_per_byte` of a model that maps tokens (batch, seq) to logits
        (batch, seq, vocabulary), in one process; the model's modules keep their modes.
        """
        store = dict(zip(self.names, self._prepared(), strict=True))[name]
        loss = SetLoss(store.bytes)
        with scoring(model) as device:
            loss.to(device)
            for inputs, targets in watch(Windows(store, self.sequence_length, self.batch_size)):
                inputs, targets = inputs.to(device), targets.to(device)
                logits = model(inputs)
                # A softmax over thousands of bfloat16 values loses what is compared here.
                wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, 1)
                nats = cross_entropy(wide, targets.flatten(), ignore_index=IGNORED, reduction="sum")
                loss.update(nats, (targets != IGNORED).sum())
        return loss.results()

    def losses(self) -> torch.nn.ModuleList:
        """A new `SetLoss` for each set; a `ModuleList`, so that it moves to the model's device."""
        return torch.nn.ModuleList(SetLoss(store.bytes) for store in self._prepared())

    def results(self, losses: Iterable[SetLoss]) -> dict[str, float]:
        """Every metric of the suite by its full name, from the sets' losses in the order of `names`."""
        return self.metrics(dict(zip(self.names, (loss.results() for loss in losses), strict=True)))

    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Every metric of the suite by its full name, from what `score` gave for each set."""
        by_set = {name: scored[name] for name in self.names}
        metrics = {f"{self.name}/{name}/{key}": row[key] for name, row in by_set.items() for key in row}
        for key in ("loss", "perplexity", "bits_per_byte"):
            values = [row[key] for row in by_set.values() if key in row]
            if len(values) == len(by_set):
                metrics[f"{self.name}/mean/{key}"] = sum(values) / len(values)
        return metrics

    def _prepared(self) -> list[TokenStore]:
        if not self._stores:
            raise RuntimeError(f"the suite {self.name} is not prepared: call prepare(…) first")
        return self._stores


def _file_sets(files: Files, column: str) -> dict[str, TextSet]:
    sets: dict[str, TextSet] = {}
    for path in find_files(files):
        stem = Path(path.stem).stem if path.suffix in COMPRESSIONS else path.stem
        name = _checked(re.sub(r"[^\w.\- ]", "_", stem))
        if name in sets:
            raise ValueError(f"evaluation.files: {sets[name]} and {path} are both named {name!r}; rename one")
        sets[name] = TextSet(path, column=column)
    return sets


def _named_sets(sets: str | Mapping[str, Files | Mapping | ValidationSet], column: str) -> dict[str, ValidationSet]:
    if not isinstance(sets, Mapping) or not sets:
        raise ValueError(f"evaluation.sets={sets!r}: allowed are {SHIPPED!r} and a mapping of names to files")
    return {_checked(name): _as_set(value, column) for name, value in sets.items()}


def _as_set(value: Files | Mapping | ValidationSet, column: str) -> ValidationSet:
    if isinstance(value, ValidationSet):
        return value
    return TextSet(**{"column": column, **value}) if isinstance(value, Mapping) else TextSet(value, column=column)


def _checked(name: str) -> str:
    if name == "mean" or not re.fullmatch(r"[\w.\- ]+", name):
        raise ValueError(f"evaluation set named {name!r}: allowed are letters, digits, _ - . and not 'mean'")
    return name
