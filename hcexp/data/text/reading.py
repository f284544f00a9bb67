"""Rows of text out of one file, on this machine or elsewhere, in tables of bounded size.

JSON is read for the text alone: the other fields of web corpora change their types from row to row.
"""

import io
import json
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from hcexp import __version__
from hcexp.data.text.files import compression_of, format_of

BLOCK = 1 << 24  # bytes of JSON at once
ROWS = 1024  # of parquet at once
TEXT_A_COMPRESSED_BYTE = 3  # about

Texts = list[str | None]


class ColumnError(ValueError):
    """The file is sound, but has no such column of text; the message says which file and which columns."""


def read_texts(path: str, column: str, skip: int = 0) -> Iterator[Texts]:
    """The column's values from row `skip` on; of a text file all that is in it, as one row.

    `path` may be an address, https://… or hf://…. Raises ColumnError for no such column, or one that does not hold
    text; ValueError if the file is broken, or not UTF-8; OSError if it cannot be read.
    """
    read = {"text": _read_text, "json": _read_json, "parquet": _read_parquet}[format_of(path)]
    return after(skip, read(path, column))


def after(skip: int, lists: Iterable[Texts]) -> Iterator[Texts]:
    """The values of the lists but for so many at the beginning."""
    for texts in lists:
        if skip < len(texts):
            yield texts[skip:]
        skip = max(skip - len(texts), 0)


def text_column(table: pa.Table, column: str, origin: object) -> Texts:
    """The values of a column; raises ColumnError if it is not there, or does not hold text."""
    check_column(column, table.column_names, origin)
    kind = str(table.schema.field(column).type)
    if kind not in ("string", "large_string", "string_view", "null"):
        raise ColumnError(f"{origin}: column {column!r} holds {kind}, not text")
    return table[column].to_pylist()


def check_column(column: str, columns: list[str], origin: object) -> None:
    """Raise ColumnError, with the columns that there are, unless `column` is one of them."""
    if column not in columns:
        raise ColumnError(f"{origin} has no column {column!r}; its columns are: {', '.join(columns)}")


def _read_text(path: str, column: str) -> Iterator[Texts]:
    with io.TextIOWrapper(_open(path), encoding="utf-8") as file:
        yield [file.read()]


def _read_parquet(path: str, column: str) -> Iterator[Texts]:
    with _open(path) as file:
        parquet = pq.ParquetFile(file)
        check_column(column, parquet.schema_arrow.names, path)
        for batch in parquet.iter_batches(ROWS, columns=[column]):
            yield text_column(pa.Table.from_batches([batch]), column, path)


def _read_json(path: str, column: str) -> Iterator[Texts]:
    parse = pa.json.ParseOptions(explicit_schema=pa.schema([(column, pa.string())]), unexpected_field_behavior="ignore")
    seen = False
    for block in _lines(path):
        read = pa.json.ReadOptions(use_threads=False, block_size=len(block))
        texts = pa.json.read_json(pa.BufferReader(block), read, parse)[column].to_pylist()
        if not seen and texts and all(text is None for text in texts):
            check_column(column, list(json.loads(block.lstrip().split(b"\n", 1)[0])), path)
        seen = seen or bool(texts)
        yield texts


def _lines(path: str) -> Iterator[bytes]:
    """Whole lines, about `BLOCK` bytes at a time."""
    with _open(path) as file:
        rest = file.read(3).removeprefix(b"\xef\xbb\xbf")
        while more := file.read(BLOCK):
            whole, newline, more = more.rpartition(b"\n")
            if newline:
                yield rest + whole + newline
                rest = b""
            rest += more
        if rest:
            yield rest


def _open(path: str) -> BinaryIO:
    """The decompressed bytes. What is elsewhere is read again for a while when a connection breaks."""
    if "://" in path:
        from datasets import DownloadConfig
        from datasets.utils.file_utils import xopen

        # Some servers refuse a client without a name, or compress again what is compressed.
        headers = {"headers": {"User-Agent": f"hcexp/{__version__}", "Accept-Encoding": "identity"}}
        raw = xopen(path, "rb", download_config=DownloadConfig(storage_options={"http": headers, "https": headers}))
    else:
        raw = open(path, "rb")
    compression = compression_of(path)
    return raw if compression is None else pa.CompressedInputStream(pa.PythonFile(raw, "r"), compression)


def expected_bytes(path: str | os.PathLike, column: str) -> int:
    """About how many bytes of text a local file holds."""
    if format_of(path) != "parquet":
        return os.path.getsize(path) * (1 if compression_of(path) is None else TEXT_A_COMPRESSED_BYTE)
    try:
        metadata = pq.read_metadata(path)
    except (ValueError, OSError):  # reading it will say what is wrong
        return 0
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    columns = (group.column(i) for group in groups for i in range(metadata.num_columns))
    return sum(part.total_uncompressed_size for part in columns if part.path_in_schema == column)
