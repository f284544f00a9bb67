"""How far a preparation has come, on the disk, so that another process can go on from there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hcexp.data.text.tokens.interleave import Progress
from hcexp.data.text.tokens.shards import ShardWriter
from hcexp.disk.atomic import write_json

JOURNAL = "journal.json"


def save(writer: ShardWriter, progress: Mapping[str, Progress]) -> None:
    """Note what is written, up to the end of a document, and what it was taken from."""
    taken = {name: asdict(of_one) for name, of_one in progress.items()}
    content = {"shard_tokens": writer.shard_tokens, "shards": writer.flush(), "progress": taken}
    write_json(writer.folder / JOURNAL, content)


def load(
    folder: Path, vocabulary_size: int, shard_tokens: int, names: Sequence[str]
) -> tuple[ShardWriter, dict[str, Progress]] | None:
    """A writer at the point of the last `save`, and what it was taken from; None if there is nothing to go on from."""
    try:
        content: dict[str, Any] = json.loads((folder / JOURNAL).read_text())
        if content["shard_tokens"] != shard_tokens or list(content["progress"]) != list(names):
            return None
        progress = {
            name: Progress(**{**values, "position": tuple(values["position"])})
            for name, values in content["progress"].items()
        }
        return ShardWriter(folder, vocabulary_size, shard_tokens, content["shards"]), progress
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):  # none, damaged, of another layout
        return None
