"""Documents to token ids, in this process or in several others, in the order of the documents."""

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import NamedTuple

import numpy as np

from hcexp.data.text.source import Document, Position
from hcexp.data.text.tokens.chunks import split_document
from hcexp.data.text.tokens.tokenizer import TextTokenizer

# A batch of chunks ends at whichever comes first.
BATCH_CHUNKS = 1024
BATCH_CHARACTERS = 1 << 20

Batch = list[tuple[str, Position | None]]  # chunks of documents; with the last of each, where the next begins


class Chunk(NamedTuple):
    """A document, or a part of a very long one."""

    text: str
    ids: np.ndarray  # uint32, shape (tokens,)
    end: Position | None  # where the next document begins; None if this one goes on


class Encoder(AbstractContextManager):
    """A context that encodes in `workers` other processes, in this one if there are none; the ids are the same."""

    def __init__(self, tokenizer: TextTokenizer, workers: int = 0):
        self._tokenizer, self._workers = tokenizer, workers
        # Not forked: a process that has trained or read over the network has threads that hold locks.
        spawn = get_context("spawn")
        self._processes = ProcessPoolExecutor(workers, spawn, _begin, (tokenizer,)) if workers else None

    def __exit__(self, *_: object) -> None:
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)

    def encode(self, documents: Iterable[Document], share: float = 1.0) -> Iterator[Chunk]:
        """The documents, encoded, in their order, and read ahead by two batches for each process.

        Where several sources are encoded in turn, `share` is the part of the processes that these documents may expect.
        Raises ChildProcessError if a process was killed.
        """
        ahead = 2 + round(2 * self._workers * share) if self._workers else 0
        waiting: deque[tuple[Batch, Future | Iterator]] = deque()
        try:
            for batch in _batches(documents):
                texts = [text for text, _ in batch]
                encode = partial(self._processes.submit, _encode) if self._processes else self._tokenizer.encode
                waiting.append((batch, encode(texts)))
                if len(waiting) > ahead:
                    yield from self._finished(*waiting.popleft())
            while waiting:
                yield from self._finished(*waiting.popleft())
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of the data.workers={self._workers} processes was killed, perhaps for want of memory: "
                "the same command goes on, with fewer of them if need be"
            ) from error

    @staticmethod
    def _finished(batch: Batch, encoded: Future | Iterator[np.ndarray]) -> Iterator[Chunk]:
        ids = encoded.result() if isinstance(encoded, Future) else encoded
        for (text, end), of_one in zip(batch, ids, strict=True):
            yield Chunk(text, of_one, end)


def _batches(documents: Iterable[Document]) -> Iterator[Batch]:
    batch, characters = [], 0
    for document in documents:
        *most, last = split_document(document.text)
        for text, end in [*((text, None) for text in most), (last, document.end)]:
            batch.append((text, end))
            characters += len(text)
            if len(batch) >= BATCH_CHUNKS or characters >= BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
    if batch:
        yield batch


_tokenizer: TextTokenizer  # of a worker process


def _begin(tokenizer: TextTokenizer) -> None:
    """Set up a worker process: one thread, deaf to Ctrl-C, and gone when its parent is, however that ended."""
    global _tokenizer
    _tokenizer = tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)


def _encode(texts: list[str]) -> list[np.ndarray]:
    return list(_tokenizer.encode(texts))
