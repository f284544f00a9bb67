"""Documents of datasets on the Hugging Face hub, streamed."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.data.text.reading import ColumnError, Texts, after, check_column, read_texts, text_column
from hcexp.data.text.source import Position, Rows, one_line
from hcexp.disk.checksum import checksum

if TYPE_CHECKING:  # importing it takes 1.3 s
    from datasets import IterableDataset

ROWS = 256  # at once

# A name, and what reads the column's values from a row on.
Part = tuple[str, Callable[[int], Iterator[Texts]]]


class HubSource(Rows):
    """Documents of a dataset on the hub at one commit. Nobody asks the hub before they are read.

    Args:
        hub: the dataset's name, or the path of a folder in a hub's place.
        config, split: those of the dataset.
        column, document_start: see `Rows`.
        revision: the commit; a folder needs none.
        data_files: files of its repository, a glob or several, in place of its configurations.
        url_list: a file of its repository with an address a line, in place of its configurations.
        file_seed: read the files in an order drawn with this seed, and not in that of their names, so that a stream
            with an end has of all of them; None for their own order.

    Raises ValueError for no commit, both `data_files` and `url_list`, or no regular expression.
    """

    def __init__(
        self,
        hub: str,
        config: str | None = None,
        split: str = "train",
        column: str = "text",
        revision: str | None = None,
        data_files: str | Iterable[str] | None = None,
        url_list: str | None = None,
        file_seed: int | None = None,
        document_start: str | None = None,
    ):
        super().__init__(column, document_start)
        if data_files is not None and url_list is not None:
            raise ValueError(f"give one of data_files={data_files!r} and url_list={url_list!r}, not both")
        # A branch moves, and what is named by it would then be something else.
        is_folder = Path(hub).is_absolute() or hub.startswith((".", "~"))
        if not is_folder and not re.fullmatch(r"[0-9a-f]{40}", str(revision)):
            shown = "null" if revision is None else revision
            raise ValueError(
                f"revision={shown} of hub={hub}: allowed is a commit, 40 hexadecimal digits, which names a run; "
                f"https://huggingface.co/datasets/{hub}/commits/main lists them"
            )
        self.hub, self.config, self.split, self.revision = hub, config, split, revision
        self.data_files = [data_files] if isinstance(data_files, str) else data_files and list(data_files)
        self.url_list, self.file_seed = url_list, file_seed

    def __str__(self) -> str:
        some = self.url_list or (self.data_files and ",".join(self.data_files))
        return "/".join(filter(None, [self.hub, some] if some else [self.hub, self.config, self.split]))

    @cached_property
    def checksum(self) -> str:
        """Of its name, split and commit, and of how it is read."""
        content = checksum(self.hub, self.config, self.split, self.column, self.revision)
        more = [self.data_files, self.url_list, self.file_seed, self.document_start]
        return content if more == [None] * 4 else checksum(content, *more)

    def share(self, position: Position, text_bytes: float) -> float:
        """By the files, of which there are many."""
        return position[0] / len(self._parts)

    @cached_property
    def _parts(self) -> list[Part]:
        streamed = self.url_list is None and self.data_files is None
        parts = self._streamed_shards() if streamed else self._files()
        if self.file_seed is not None:
            parts.sort(key=lambda part: checksum(self.file_seed, part[0]))
        return parts

    def tables(self, start: Position) -> Iterator[tuple[Position, Texts]]:
        part = ""
        try:
            for file in range(start[0], len(self._parts)):
                name, read = self._parts[file]
                part = f", {name}"
                row = start[1] if file == start[0] else 0
                for texts in read(row):
                    yield (file, row), texts
                    row += len(texts)
        except ColumnError:
            raise
        except UnicodeDecodeError as error:
            raise ValueError(f"hub dataset {self}{part} is not UTF-8 text: {one_line(error)}") from error
        except ValueError as error:  # no such configuration or split: the message lists those there are
            raise ValueError(f"hub dataset {self}{part}: {one_line(error)}") from error
        except Exception as error:  # whatever the HTTP libraries raise
            raise ConnectionError(f"hub dataset {self} cannot be read: {one_line(error)}") from error

    def _files(self) -> list[Part]:
        """The files whose addresses `url_list` lists, or those that match `data_files`, in order of their paths."""
        from huggingface_hub import HfFileSystem

        hub, root = HfFileSystem(), f"datasets/{self.hub}" + (f"@{self.revision}" if self.revision else "")
        if self.url_list is not None:
            addresses = hub.read_text(f"{root}/{self.url_list}").split()
            if not addresses:
                raise ValueError(f"url_list={self.url_list!r} lists no file")
            return [(address, partial(read_texts, address, self.column)) for address in addresses]
        found: dict[str, Part] = {}
        for pattern in self.data_files:
            paths = sorted(hub.glob(f"{root}/{pattern}"))
            if not paths:
                raise ValueError(f"data_files={pattern!r} matches none of its files")
            names = {path: path.removeprefix(f"{root}/") for path in paths}
            found |= {name: (name, partial(read_texts, f"hf://{path}", self.column)) for path, name in names.items()}
        return list(found.values())

    def _streamed_shards(self) -> list[Part]:
        """The files of the split, as `datasets` streams them."""
        from datasets import load_dataset
        from datasets.utils import logging

        logging.set_verbosity(logging.CRITICAL)  # it logs what it then raises
        rows = load_dataset(self.hub, self.config, split=self.split, revision=self.revision, streaming=True)
        if rows.features is not None:
            check_column(self.column, list(rows.features), self.hub)
            rows = rows.select_columns([self.column])
        number = rows.num_shards
        return [(f"shard {i} of {number}", partial(_read_shard, rows, i, self.column)) for i in range(number)]


def _read_shard(rows: "IterableDataset", index: int, column: str, skip: int = 0) -> Iterator[Texts]:
    tables = rows.shard(rows.num_shards, index).with_format("arrow").iter(ROWS)
    return after(skip, (text_column(table, column, f"shard {index}") for table in tables))
