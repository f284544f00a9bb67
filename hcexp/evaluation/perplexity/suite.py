"""A suite: named validation sets that are evaluated together, and the names of their metrics."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hcexp.data import TokenStore, corpus, find_files
from hcexp.data.text.files import COMPRESSIONS
from hcexp.disk.checksum import checksum
from hcexp.evaluation.benchmark import Benchmark
from hcexp.evaluation.perplexity.set_loss import SetLoss
from hcexp.evaluation.perplexity.text_set import TextSet
from hcexp.evaluation.perplexity.validation_set import ValidationSet
from hcexp.evaluation.perplexity.windows import Windows
from hcexp.objective.next_token import IGNORED

SUITES = ("v2", "v3", "corpus", "local")
SHIPPED = "shipped"

Files = str | os.PathLike | Iterable[str | os.PathLike]


class PerplexitySuite(Benchmark):
    """Named validation sets of text.

    Metrics are called `<suite>/<set>/loss`, `…/perplexity`, `…/bits_per_byte`, and `<suite>/mean/…` for the
    arithmetic mean over the sets (of perplexities too: it is not the exponential of the mean loss).

    Args:
        suite: v2 or v3 (the paper's), corpus (the shipped sets) or local (one's own): nothing is called v2
            or v3 that is not.
        sets: "shipped", or a mapping of set names to files, to the arguments of `TextSet`, or to sets.
        files: in place of `sets`: a folder, a glob or a list; every file is one set named by its stem.
        column: the column that holds the text of `files` and of sets given as files.
        documents: documents a set, from its beginning, for a quick look; None for all.
        max_tokens: tokens a set, from its beginning; None for all.
        batch_size: windows a batch and process.
        every: optimiser steps between evaluations during training; None for one at the end.

    Raises ValueError for an argument out of range, or two sets of one name; FileNotFoundError if a file is missing.
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
        self.parts, self.headline = list(self.sets), f"{suite}/mean/loss"
        self._stores: dict[str, TokenStore] = {}

    @property
    def fingerprint(self) -> str:
        contents = [(name, source.checksum) for name, source in self.sets.items()]
        return checksum(self.name, contents, self.documents, self.max_tokens)

    def fingerprint_of(self, part: str) -> str:
        return checksum(self.sets[part].checksum, self.documents, self.max_tokens)

    def prepare(self, data: Any, cache: str | os.PathLike) -> None:
        """Tokenise the sets unless the cache has them, and open them; a window, of the data's `sequence_length`, starts
        without context. Raises what `ValidationSet.open` raises.
        """
        self.sequence_length = data.sequence_length
        limits = {"documents": self.documents, "max_tokens": self.max_tokens, "verify": data.verify}
        self._stores = {name: one.open(data.tokenizer, cache, **limits) for name, one in self.sets.items()}

    def loader(self, part: str, rank: int = 0, world_size: int = 1) -> Windows:
        return Windows(self._store(part), self.sequence_length, self.batch_size, rank, world_size)

    def meter(self, part: str) -> SetLoss:
        return SetLoss(self._store(part).bytes)

    def samples(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All windows, one by one and without padding: inputs and targets, (1, seq)."""
        for inputs, targets in super().samples():
            length = int((targets != IGNORED).sum())
            yield inputs[:, :length], targets[:, :length]

    def metrics(self, scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """There is a mean only of what all sets have."""
        rows = [scored[name] for name in self.sets]
        metrics = {f"{self.name}/{name}/{key}": value for name in self.sets for key, value in scored[name].items()}
        for key in ("loss", "perplexity", "bits_per_byte"):
            if all(key in row for row in rows):
                metrics[f"{self.name}/mean/{key}"] = sum(row[key] for row in rows) / len(rows)
        return metrics

    def _store(self, part: str) -> TokenStore:
        if not self._stores:
            raise RuntimeError(f"the suite {self.name} is not prepared: call prepare(…) first")
        return self._stores[part]


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
