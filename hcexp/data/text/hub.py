"""Datasets on the Hugging Face hub: their commits, their files, and their rows as they are streamed."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.data.text.reading import Texts, check_column, read_texts, text_column

if TYPE_CHECKING:  # importing it takes 1.3 s
    from datasets import IterableDataset

ROWS = 256  # at once

# A name, and what reads the column's values from a row on.
Part = tuple[str, Callable[[int], Iterator[Texts]]]


def commit_of(hub: str, revision: str | None) -> str | None:
    """The commit that a branch or tag, or the newest version, stands for now; None for a folder in a hub's place."""
    if Path(hub).is_dir() or re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        return revision
    from huggingface_hub import HfApi

    return HfApi().dataset_info(hub, revision=revision).sha


def matching_files(hub: str, revision: str | None, patterns: Iterable[str], column: str) -> list[Part]:
    """The files of the dataset's repository that match the patterns, in order of their paths.

    Raises:
        ValueError: a pattern matches none.
    """
    from huggingface_hub import HfFileSystem

    root = _root(hub, revision)
    found: dict[str, str] = {}
    for pattern in patterns:
        paths = sorted(HfFileSystem().glob(f"{root}/{pattern}"))
        if not paths:
            raise ValueError(f"data_files={pattern!r} matches none of its files")
        found |= {path.removeprefix(f"{root}/"): f"hf://{path}" for path in paths}
    return [(name, partial(read_texts, address, column)) for name, address in found.items()]


def listed_files(hub: str, revision: str | None, url_list: str, column: str) -> list[Part]:
    """The files whose addresses are the lines of a file in the dataset's repository.

    Raises:
        ValueError: it lists none.
    """
    from huggingface_hub import HfFileSystem

    addresses = HfFileSystem().read_text(f"{_root(hub, revision)}/{url_list}").split()
    if not addresses:
        raise ValueError(f"url_list={url_list!r} lists no file")
    return [(address, partial(read_texts, address, column)) for address in addresses]


def streamed_shards(hub: str, config: str | None, split: str, revision: str | None, column: str) -> list[Part]:
    """The files of a split, as `datasets` streams them.

    Raises:
        ValueError: no such configuration or split; the message lists those there are.
    """
    from datasets import load_dataset
    from datasets.utils import logging

    logging.set_verbosity(logging.CRITICAL)  # it logs what it then raises
    rows = load_dataset(hub, config, split=split, revision=revision, streaming=True)
    if rows.features is not None:
        check_column(column, list(rows.features), hub)
        rows = rows.select_columns([column])
    number = rows.num_shards
    return [(f"shard {i} of {number}", partial(_read_shard, rows, i, column)) for i in range(number)]


def _read_shard(rows: "IterableDataset", index: int, column: str, skip: int = 0) -> Iterator[Texts]:
    shard = rows.shard(rows.num_shards, index).with_format("arrow")
    for table in shard.iter(ROWS):
        texts = text_column(table, column, f"shard {index}")
        if skip < len(texts):
            yield texts[skip:]
        skip = max(skip - len(texts), 0)


def _root(hub: str, revision: str | None) -> str:
    return f"datasets/{hub}" + (f"@{revision.replace('/', '%2F')}" if revision else "")
