"""Documents to a token store, once: cached by content, atomic, and safe against a second process."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock

from hcexp.data.checksum import checksum
from hcexp.data.pieces import pieces
from hcexp.data.progress import PrepareProgress
from hcexp.data.shards import INDEX, SHARD_TOKENS, ShardWriter, TokenStore
from hcexp.data.source import TextSource
from hcexp.data.tokenizer import TextTokenizer

_LAYOUT = 1  # raise it whenever the same source and tokenizer give another stream


def fingerprint(source: TextSource, tokenizer: TextTokenizer, max_tokens: int | None = None) -> str:
    """Names the token stream that these give, without making it; its first 32 digits name its folder."""
    return checksum(_LAYOUT, source.checksum, tokenizer.checksum, max_tokens)


def prepare(
    source: TextSource,
    tokenizer: TextTokenizer,
    cache: str | os.PathLike,
    *,
    max_tokens: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    verify: bool = True,
    progress: bool = True,
) -> TokenStore:
    """The source as a token store under `cache`, tokenised unless an earlier call has done it.

    The stream is EOS, document, EOS, document, EOS, …; memory is bounded by the longest document.

    Args:
        source: the documents; the empty ones are left out.
        tokenizer: with the token that ends a document.
        cache: a folder for any number of stores.
        max_tokens: end the stream after so many tokens, in the middle of a document if need be; None for all.
        shard_tokens: tokens a file.
        verify: compare the shards with their checksums on opening.
        progress: show documents, tokens and MB/s.

    Raises:
        ValueError: the source has no text, or a shard in the cache is damaged.
        OSError: the cache cannot be written.
    """
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}: allowed is at least 1, or null for all")
    folder = Path(cache).expanduser() / fingerprint(source, tokenizer, max_tokens)[:32]
    if not (folder / INDEX).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / INDEX).is_file():  # else another process did it while this one waited
                _write(source, tokenizer, folder, max_tokens, shard_tokens, progress)
    return TokenStore(folder, verify)


def _write(source: TextSource, tokenizer: TextTokenizer, folder: Path, max_tokens: int | None,
           shard_tokens: int, progress: bool) -> None:  # fmt: skip
    unfinished = folder.with_suffix(".unfinished")
    for leftover in (unfinished, folder):  # of a process that was killed, or of a hand that deleted the index
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        writer = ShardWriter(unfinished, tokenizer.vocabulary_size, shard_tokens)
        room = max_tokens if max_tokens is not None else float("inf")
        documents = text_bytes = 0
        eos = np.array([tokenizer.eos_id], dtype=np.uint32)
        writer.append(eos)
        with PrepareProgress(f"tokens of {source}", progress) as line:
            for text, ids, ends_document in _encoded(source, tokenizer):
                left = room - writer.tokens
                if left <= 0:
                    break
                if len(ids) >= left:  # the last document, whole or not
                    text, ids, ends_document = tokenizer.prefix(text, int(left)), ids[: int(left)], True
                writer.append(ids)
                text_bytes += len(text.encode())
                documents += ends_document
                if ends_document and writer.tokens < room:
                    writer.append(eos)
                line.update(documents, writer.tokens, text_bytes)
        if not text_bytes:
            raise ValueError(f"{source}: no text, {documents} documents")
        writer.close(documents=documents, bytes=text_bytes, eos_id=tokenizer.eos_id, source=str(source))
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _encoded(source: TextSource, tokenizer: TextTokenizer) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Each piece of text, its ids, and whether it is the last of its document."""
    for documents in source.documents():
        parts = [
            (piece, i == len(cut) - 1) for cut in (list(pieces(document)) for document in documents)
            for i, piece in enumerate(cut)
        ]  # fmt: skip
        encoded = tokenizer.encode([piece for piece, _ in parts])
        for (piece, last), ids in zip(parts, encoded, strict=True):
            yield piece, ids, last
