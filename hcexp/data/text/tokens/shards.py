"""Tokens on disk: a folder of flat shards and an `index.json`, written once."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hcexp.data.text.tokens.shard_file import ShardFile
from hcexp.disk.atomic import write_json
from hcexp.disk.checksum import checksum, file_checksum

INDEX = "index.json"
SHARD_TOKENS = 1 << 27  # 256 MiB of uint16
MOST_OPEN = 256  # shards a process; the system's limit may be 1,024 files


def token_dtype(vocabulary_size: int) -> np.dtype:
    """uint16 where it holds every id, else uint32; little-endian on any machine."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")


class ShardWriter:
    """Append tokens to the shards of a new folder; `close` writes the index, which makes it a store.

    Args:
        shard_tokens: tokens a file.
        shards: go on in the folder from what an earlier writer's `flush` gave; what was written after it is cut off.

    Raises ValueError for `shard_tokens` out of range, or a folder that does not hold `shards`; OSError if the folder is
    there already, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary_size: int,
        shard_tokens: int = SHARD_TOKENS,
        shards: Sequence[Mapping[str, Any]] | None = None,
    ):
        if shard_tokens < 1:
            raise ValueError(f"shard_tokens={shard_tokens}: allowed is at least 1")
        self.folder, self.vocabulary_size, self.shard_tokens = folder, vocabulary_size, shard_tokens
        self.dtype = token_dtype(vocabulary_size)
        self._shards: list[dict[str, Any]] = deepcopy(list(shards or ()))
        self.tokens = sum(shard["tokens"] for shard in self._shards)
        self._file = None
        if shards is None:
            folder.mkdir(parents=True)
        else:
            self._cut()

    def append(self, ids: np.ndarray) -> None:
        """Add ids, shape (tokens,), after those written so far."""
        while len(ids):
            if self._file is None:
                name = f"tokens-{len(self._shards):05d}.bin"
                self._file, self._sha256 = (self.folder / name).open("wb"), hashlib.sha256()
                self._shards.append({"file": name, "tokens": 0})
            shard = self._shards[-1]
            room = self.shard_tokens - shard["tokens"]
            part, ids = ids[:room], ids[room:]
            data = part.astype(self.dtype).tobytes()
            self._file.write(data)
            self._sha256.update(data)
            shard["tokens"] += len(part)
            self.tokens += len(part)
            if shard["tokens"] == self.shard_tokens:
                self._finish()

    def flush(self) -> list[dict[str, Any]]:
        """Put all that was appended on the disk; the shards, from which another writer can go on."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        return deepcopy(self._shards)

    def close(self, **counts: Any) -> None:
        """End the last shard and write the index with `counts` (documents, bytes, …) beside the tokens."""
        if self._file is not None:
            self._finish()
        sizes = {"vocabulary_size": self.vocabulary_size, "tokens": self.tokens}
        write_json(self.folder / INDEX, {**sizes, **counts, "shards": self._shards})

    def _finish(self) -> None:
        self.flush()
        self._file.close()
        self._file = None
        self._shards[-1]["sha256"] = self._sha256.hexdigest()

    def _cut(self) -> None:
        kept = {shard["file"]: shard["tokens"] * self.dtype.itemsize for shard in self._shards}
        for path in self.folder.glob("tokens-*.bin"):
            if path.name not in kept:
                path.unlink()
        for name, size in kept.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size < size:
                raise ValueError(f"shard {path} is shorter than the {size} bytes that were written to it")
            os.truncate(path, size)
        if self._shards and "sha256" not in self._shards[-1]:
            self._file = (self.folder / self._shards[-1]["file"]).open("a+b")
            self._file.seek(0)
            self._sha256 = hashlib.file_digest(self._file, "sha256")


class TokenStore:
    """A stream of tokens in shards: EOS, document, EOS, document, EOS, …

    Attributes:
        tokens: length of the stream.
        documents, bytes: how many are in it, and their text in UTF-8.
        vocabulary_size: of the tokenizer; every id is below it.
        eos_id: the token before the first document and after each.
        sources: what the stream has of each source, by name; see `hcexp.data.text.tokens.interleave.Progress`.

    `verify` compares every shard with its checksum, unless that was done since it last changed. Raises
    FileNotFoundError if the folder has no index, ValueError if a shard is missing, truncated or changed.
    """

    def __init__(self, folder: Path, verify: bool = True):
        self.folder = Path(folder)
        if not (self.folder / INDEX).is_file():
            raise FileNotFoundError(f"{self.folder} holds no tokens: there is no {INDEX}")
        index: Mapping[str, Any] = json.loads((self.folder / INDEX).read_text())
        self.tokens: int = index["tokens"]
        self.documents: int = index["documents"]
        self.bytes: int = index["bytes"]
        self.vocabulary_size: int = index["vocabulary_size"]
        self.eos_id: int = index["eos_id"]
        self.sources: dict[str, dict[str, Any]] = index.get("sources", {})
        self.dtype = token_dtype(self.vocabulary_size)
        self._shards = index["shards"]
        self._files: dict[int, ShardFile] = {}  # by number of the shard
        self._starts = np.cumsum([0] + [shard["tokens"] for shard in self._shards])
        for shard in self._shards:
            self._check(shard, verify)

    @cached_property
    def checksum(self) -> str:
        """Of the stream's content, from the index; also of how it is cut into shards."""
        return checksum(self.vocabulary_size, [shard["sha256"] for shard in self._shards])

    def __getitem__(self, key: slice) -> np.ndarray:
        if not isinstance(key, slice) or key.step not in (None, 1):
            raise TypeError(f"index {key!r}: allowed are slices of step 1")
        return self.read(*key.indices(self.tokens)[:2])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens [start, stop) of the stream, across shard borders: int64, shape (stop - start,).

        Raises IndexError if the stream does not have them, OSError in one line if a shard does not give them.
        """
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError(f"tokens {start} to {stop} of a stream of {self.tokens}")
        parts = [np.empty(0, np.int64)]
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < stop:
            first, last = map(int, self._starts[shard : shard + 2])
            parts.append(self._file(shard).read(start - first, min(stop, last) - first))
            start, shard = last, shard + 1
        return np.concatenate(parts, dtype=np.int64)

    def _file(self, shard: int) -> ShardFile:
        if shard not in self._files:
            if len(self._files) == MOST_OPEN:
                self._files.pop(next(iter(self._files)))
            self._files[shard] = ShardFile(self.folder / self._shards[shard]["file"], self.dtype)
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}  # another process opens its own

    def _check(self, shard: Mapping[str, Any], verify: bool) -> None:
        path, size = self.folder / shard["file"], shard["tokens"] * self.dtype.itemsize
        try:
            if not path.is_file():
                problem = "is missing"
            elif path.stat().st_size != size:
                problem = f"has {path.stat().st_size} bytes and not {size}"
            elif verify and file_checksum(path, self.folder.parent) != shard["sha256"]:
                problem = "does not have the checksum that it was written with"
            else:
                return
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        raise ValueError(f"shard {path} {problem}: delete {self.folder} and run `hcexp prepare` again")
