"""How far a preparation has come, on the disk, so that another process can go on from there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hcexp.data.text.stream import Taken
from hcexp.data.text.tokens.shards import ShardWriter
from hcexp.disk.atomic import write_json

JOURNAL = "journal.json"


def save(writer: ShardWriter, taken: Mapping[str, Taken]) -> None:
    """Note what is written, up to the end of a document, and what it was taken from."""
    content = {
        "shard_tokens": writer.shard_tokens,
        "shards": writer.flush(),
        "taken": {name: asdict(of_one) for name, of_one in taken.items()},
    }
    write_json(writer.folder / JOURNAL, content)


def load(
    folder: Path, vocabulary_size: int, shard_tokens: int, names: Sequence[str]
) -> tuple[ShardWriter, dict[str, Taken]] | None:
    """A writer at the point of the last `save`, and what it was taken from; None if there is nothing to go on from."""
    try:
        content: dict[str, Any] = json.loads((folder / JOURNAL).read_text())
        if content["shard_tokens"] != shard_tokens or list(content["taken"]) != list(names):
            return None
        taken = {name: Taken(**values) for name, values in content["taken"].items()}
        for of_one in taken.values():
            of_one.position = tuple(of_one.position)
        return ShardWriter(folder, vocabulary_size, shard_tokens, content["shards"]), taken
    except (FileNotFoundError, ValueError):  # none, or shards that were damaged
        return None
