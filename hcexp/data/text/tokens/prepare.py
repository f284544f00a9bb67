"""Documents to a token store, once: cached by content, resumable, and safe against a second process."""

import errno
import os
import shutil
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from hcexp.data.text.mixture import Mixture
from hcexp.data.text.source import Source
from hcexp.data.text.tokens.journal import JOURNAL
from hcexp.data.text.tokens.shards import INDEX, SHARD_TOKENS, TokenStore
from hcexp.data.text.tokens.stream_writer import StreamWriter
from hcexp.data.text.tokens.tokenizer import TextTokenizer
from hcexp.disk.checksum import checksum

_LAYOUT = 1  # raise it whenever the same source and tokenizer give another stream


def fingerprint(source: Source | Mixture, tokenizer: TextTokenizer, max_tokens: int | None = None) -> str:
    """Names the token stream that these give, without making it; its first 32 digits name its folder."""
    return checksum(_LAYOUT, source.checksum, tokenizer.checksum, max_tokens)


def prepare(
    source: Source | Mixture,
    tokenizer: TextTokenizer,
    cache: str | os.PathLike,
    *,
    max_tokens: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    verify: bool = True,
    progress: bool = True,
    workers: int = 0,
    save_every: float = 30.0,
) -> TokenStore:
    """The source as a token store under `cache`, tokenised unless an earlier call has done it.

    The stream is EOS, document, EOS, document, EOS, …; it depends on source, tokenizer and `max_tokens` alone. Memory
    is bounded by the longest document. A call that was stopped, even killed, is gone on with by the next one.

    Args:
        cache: a folder for any number of stores.
        max_tokens: end the stream after so many tokens, in the middle of a document if need be; None for all.
        shard_tokens: tokens a file.
        verify: compare the shards with their checksums on opening.
        progress: show documents, tokens, MB/s and the time left.
        workers: processes that tokenise; 0 for this one.
        save_every: seconds between the points from which a stopped call can be gone on with.

    Raises ValueError if the source has no text, or a shard in the cache is damaged; OSError if the cache cannot be
    written, or is full; ConnectionError for want of the hub.
    """
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}: allowed is at least 1, or null for all")
    folder = Path(cache).expanduser() / fingerprint(source, tokenizer, max_tokens)[:32]
    if not (folder / INDEX).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            if progress:
                print(f"tokens of {source}: another process is at them, waiting for it", file=sys.stderr, flush=True)
            held = lock.acquire()
        with held:
            if not (folder / INDEX).is_file():  # else another process did it while this one waited
                _make(folder, source, tokenizer, max_tokens, shard_tokens, workers, save_every, progress)
    return TokenStore(folder, verify)


def _make(folder: Path, source: Source | Mixture, tokenizer: TextTokenizer, max_tokens: int | None,
          shard_tokens: int, workers: int, save_every: float, progress: bool) -> None:  # fmt: skip
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(folder, ignore_errors=True)  # of a hand that deleted the index
    try:
        if not (unfinished / INDEX).is_file():  # else a killed process had all but given it its name
            StreamWriter(unfinished, source, tokenizer, max_tokens, shard_tokens).write(workers, save_every, progress)
        for journal in unfinished.glob(f"{JOURNAL}*"):  # a process that was killed may have left half of one
            journal.unlink()
        os.replace(unfinished, folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"there is no room left for tokens in {folder.parent}: make room, and the same command goes on"
        ) from error
    finally:
        if not any((unfinished / name).is_file() for name in (JOURNAL, INDEX)):  # nothing to go on from
            shutil.rmtree(unfinished, ignore_errors=True)
