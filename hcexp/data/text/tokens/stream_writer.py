"""Writes the token stream of a source, from its beginning or from where an earlier process was stopped."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from hcexp.data.text.mixture import Mixture
from hcexp.data.text.source import Source
from hcexp.data.text.tokens import journal
from hcexp.data.text.tokens.encode import Chunk, Encoder
from hcexp.data.text.tokens.interleave import Progress, interleave
from hcexp.data.text.tokens.progress import PrepareProgress
from hcexp.data.text.tokens.shards import ShardWriter
from hcexp.data.text.tokens.tokenizer import TextTokenizer

SHOW_SECONDS = 0.2  # between two looks at the progress


class StreamWriter:
    """EOS, document, EOS, document, EOS, … in the shards of an unfinished store; the arguments are those of `prepare`.

    The folder is gone on with if it has a journal; else made, or made anew.
    """

    def __init__(
        self,
        folder: Path,
        source: Source | Mixture,
        tokenizer: TextTokenizer,
        max_tokens: int | None,
        shard_tokens: int,
    ):
        self._source, self._tokenizer, self._max_tokens = source, tokenizer, max_tokens
        self._eos = np.array([tokenizer.eos_id], dtype=np.uint32)
        self._sources = {name: one for name, (_, one) in source.weighted.items()}
        saved = journal.load(folder, tokenizer.vocabulary_size, shard_tokens, list(self._sources))
        if saved is not None:
            self._writer, self._progress = saved
        else:
            shutil.rmtree(folder, ignore_errors=True)
            self._writer = ShardWriter(folder, tokenizer.vocabulary_size, shard_tokens)
            self._writer.append(self._eos)
            self._progress = {name: Progress(weight) for name, (weight, _) in source.weighted.items()}

    def write(self, workers: int, save_every: float, progress: bool) -> None:
        """Write all that is missing, and the index; raises what `prepare` raises."""
        shown = saved = time.monotonic()
        before = self._counts()
        with (
            Encoder(self._tokenizer, workers) as encoder,
            PrepareProgress(f"tokens of {self._source}", progress, before["text_bytes"], before["share"]) as line,
        ):
            for of_one, chunk in interleave(self._sources, self._progress, encoder):
                if not self._append(of_one, chunk):
                    break
                now = time.monotonic()
                if now - shown >= SHOW_SECONDS:
                    line.update(**self._counts())
                    shown = now
                # Only the end of a document is a point from which one can go on.
                if chunk.end is not None and now - saved >= save_every:
                    journal.save(self._writer, self._progress)
                    saved = now
            line.update(**self._counts())
        self._close()

    def _append(self, of_one: Progress, chunk: Chunk) -> bool:
        """Write a chunk of a document of one source; False if it, or its EOS, was the last that has room."""
        text, ids, end = chunk
        left = float("inf") if self._max_tokens is None else self._max_tokens - self._writer.tokens
        fits = len(ids) < left
        if not fits:
            text, ids = self._tokenizer.prefix(text, left), ids[:left]
        self._writer.append(ids)
        of_one.tokens += len(ids)
        of_one.bytes += len(text.encode())
        if end is None and fits:
            return True
        of_one.documents += 1
        if fits:
            self._writer.append(self._eos)
            of_one.tokens += 1
            of_one.position = end
        return left > len(ids) + 1

    def _counts(self) -> dict[str, Any]:
        of_all = self._progress.values()
        shares = [
            1.0 if of_one.ran_out else self._sources[name].share(of_one.position, of_one.bytes)
            for name, of_one in self._progress.items()
        ]
        share = np.average(shares, weights=[of_one.weight for of_one in of_all])  # about how much is written
        return {
            "documents": sum(of_one.documents for of_one in of_all),
            "tokens": self._writer.tokens,
            "text_bytes": sum(of_one.bytes for of_one in of_all),
            "share": max(share, self._writer.tokens / (self._max_tokens or float("inf"))),
        }

    def _close(self) -> None:
        counts = self._counts()
        if not counts["text_bytes"]:
            raise ValueError(f"{self._source}: no text, {counts['documents']} documents")
        told = {"documents": counts["documents"], "bytes": counts["text_bytes"], "eos_id": self._tokenizer.eos_id}
        sources = {name: vars(of_one) for name, of_one in self._progress.items()}
        self._writer.close(**told, source=str(self._source), sources=sources)
