"""A validation set that is published as tokens: documents joined in files of ids."""

import os
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import numpy as np
from filelock import FileLock

from hcexp.data import TextTokenizer, TokenStore
from hcexp.data.text.tokens.progress import PrepareProgress
from hcexp.data.text.tokens.shards import INDEX, ShardWriter
from hcexp.disk.checksum import checksum, file_checksum
from hcexp.evaluation.perplexity.download import download
from hcexp.evaluation.perplexity.validation_set import ValidationSet

DOWNLOADS = "downloads"
_LAYOUT = 1  # raise it whenever the same files give another stream


class TokenFiles(ValidationSet):
    """Token files of one set, in a folder or at an address, and the stream of tokens that they give.

    A file is an array of little-endian uint16 without any header, as OLMo writes it under the name `.npy`, or a real
    `.npy` of unsigned integers. Its last token says which of `eos_ids` ends a document in it. The stream is EOS, then
    the files' tokens as they are: every one of them is predicted exactly once, while OLMo, which cuts each file into
    chunks of the sequence length, leaves out the first token of each chunk and the incomplete last chunk.

    Args:
        source: a folder, or an address that starts with https:// or http://.
        paths: of the files, below the source.
        eos_ids: the ids that may end a document.

    Raises ValueError if the source is neither, or a path leads out of it; FileNotFoundError if the folder lacks a file.
    """

    def __init__(self, source: str | os.PathLike, paths: str | Sequence[str], eos_ids: Sequence[int]):
        self.source = str(source).rstrip("/")
        self.paths = [paths] if isinstance(paths, str) else [str(path) for path in paths]
        self.eos_ids = [int(i) for i in eos_ids]
        self._address = urlsplit(self.source)
        self._remote = self._address.scheme in ("http", "https")
        if not self.paths:
            raise ValueError("evaluation.sets: a set has no files")
        for path in map(PurePosixPath, self.paths):
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"evaluation.sets: {path} is not below evaluation.source, as it must be")
        if self._address.username or self._address.password:  # it would be written down with every run
            raise ValueError("evaluation.source must not hold a user or password: use ~/.netrc")
        if not self._remote and "://" in self.source:
            raise ValueError(f"evaluation.source={self.source!r}: allowed are a folder, https://… and http://…")
        for file in [] if self._remote else self._local():
            if not file.is_file():
                raise FileNotFoundError(f"evaluation.source={self.source!r}: there is no file {file}")

    def __str__(self) -> str:
        first = f"{self.source}/{self.paths[0]}"
        return first if len(self.paths) == 1 else f"{first} and {len(self.paths) - 1} more"

    @cached_property
    def checksum(self) -> str:
        """Of the content of files in a folder; of published ones their paths, so that nothing is downloaded for it."""
        if self._remote:
            return checksum(self.paths, self.eos_ids)
        return checksum([file_checksum(file) for file in self._local()], self.eos_ids)

    def open(
        self,
        tokenizer: TextTokenizer,
        cache: str | os.PathLike,
        *,
        documents: int | None = None,
        max_tokens: int | None = None,
        verify: bool = True,
    ) -> TokenStore:
        """Downloads what is not there, into `<cache>/downloads/<host>/<path>`; see `ValidationSet.open`.

        The bytes of its text are those of what the tokenizer decodes, without EOS; whether it may decode the ids is
        for a `Vocabulary` to say.

        Raises ConnectionError if a file cannot be downloaded; ValueError if one is no token file or is damaged, has ids
        that the tokenizer has not, or its documents cannot be counted.
        """
        cache = Path(cache).expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        files, contents = self._fetch(cache, verify)
        name = checksum("token files", _LAYOUT, contents, self.eos_ids, tokenizer.checksum, documents, max_tokens)
        folder = cache / name[:32]
        if not (folder / INDEX).is_file():
            with FileLock(folder.with_suffix(".lock")):
                if not (folder / INDEX).is_file():  # else another process did it while this one waited
                    self._write(files, folder, tokenizer, documents, max_tokens)
        return TokenStore(folder, verify)

    def _local(self) -> list[Path]:
        return [Path(self.source).expanduser() / path for path in self.paths]

    def _fetch(self, cache: Path, verify: bool) -> tuple[list[Path], list[str]]:
        """The files on this machine, and the sha256 of each."""
        if not self._remote:
            return self._local(), [file_checksum(file) for file in self._local()]
        folder = cache / DOWNLOADS / self._address.netloc.replace(":", "_") / self._address.path.strip("/")
        files = [folder / path for path in self.paths]
        urls = [f"{self.source}/{quote(path)}" for path in self.paths]
        try:
            return files, [download(url, file, verify) for url, file in zip(urls, files, strict=True)]
        except ConnectionError as error:
            hint = "without a network, give evaluation.source=… a folder with the same paths"
            raise ConnectionError(f"{error}; {hint}") from error

    def _write(
        self, files: list[Path], folder: Path, tokenizer: TextTokenizer, documents: int | None, max_tokens: int | None
    ) -> None:
        unfinished = folder.with_suffix(".unfinished")
        for leftover in (unfinished, folder):  # of a process that was killed, or of a hand that deleted the index
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            writer = ShardWriter(unfinished, tokenizer.vocabulary_size)
            room = max_tokens if max_tokens is not None else float("inf")
            whole = min(room, sum(len(read_tokens(file)) for file in files))
            count = text_bytes = 0
            writer.append(np.array([tokenizer.eos_id]))
            with PrepareProgress(f"tokens of {self}") as line:
                for ids, eos in self._documents(files, tokenizer, documents is not None):
                    left = min(len(ids), room - writer.tokens)
                    if left <= 0 or count == documents:
                        break
                    ids = ids[: int(left)]
                    writer.append(ids)
                    count += 1
                    text = tokenizer.decode(ids[~np.isin(ids, (eos, tokenizer.eos_id))].tolist())
                    text_bytes += len(text.encode())
                    line.update(count, writer.tokens, text_bytes, min(1.0, writer.tokens / whole))
            if not text_bytes:
                raise ValueError(f"{self}: no text, {count} documents")
            writer.close(documents=count, bytes=text_bytes, eos_id=tokenizer.eos_id, source=str(self))
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _documents(
        self, files: list[Path], tokenizer: TextTokenizer, must_count: bool
    ) -> Iterator[tuple[np.ndarray, int]]:
        """The ids of each document, its EOS included, and that EOS; a file that ends with none is one document."""
        for file in files:
            tokens = read_tokens(file)
            if (highest := int(tokens.max())) >= tokenizer.vocabulary_size:
                raise ValueError(
                    f"{file} has the id {highest}, and the tokenizer {tokenizer.name} ends at "
                    f"{tokenizer.vocabulary_size - 1}: the file is damaged, or of another tokenizer"
                )
            eos = int(tokens[-1])
            if eos in self.eos_ids:
                start = 0
                for end in (np.flatnonzero(tokens == eos) + 1).tolist():
                    yield tokens[start:end], eos
                    start = end
            elif must_count:
                raise ValueError(
                    f"{file} ends with the id {eos}, which is none of evaluation.eos_ids={self.eos_ids}: "
                    "its documents cannot be counted; leave out evaluation.documents, or give evaluation.max_tokens"
                )
            else:
                yield np.append(tokens, np.uint32(tokenizer.eos_id)), tokenizer.eos_id


def read_tokens(path: Path) -> np.ndarray:
    """The ids of a token file, memory-mapped: unsigned, shape (tokens,); ValueError if it is none."""
    with path.open("rb") as file:
        start = file.read(6)
    size = path.stat().st_size
    if start != b"\x93NUMPY":
        if not size or size % 2:
            raise ValueError(f"{path} has {size} bytes: a file of uint16 ids has an even number, and more than none")
        return np.memmap(path, dtype="<u2", mode="r")
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is a damaged .npy file: {error}") from error
    if tokens.ndim != 1 or tokens.dtype.kind != "u" or not tokens.size:
        raise ValueError(f"{path} holds {tokens.dtype} of shape {tokens.shape}: allowed are unsigned ids in one row")
    return tokens
