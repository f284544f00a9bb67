import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcexp.data.text import reading
from hcexp.data.text.reading import ColumnError, expected_bytes, read_texts


def texts(path, column="text", skip=0) -> list[str | None]:
    return [text for some in read_texts(str(path), column, skip) for text in some]


def rows(*values, **more) -> bytes:
    return "".join(json.dumps({"text": value, **more}) + "\n" for value in values).encode()


def test_other_fields_may_be_of_any_kind(tmp_path, monkeypatch):
    """As in web corpora; `datasets` stops at the second of these kinds."""
    monkeypatch.setattr(reading, "BLOCK", 40)
    kinds = [{"url": "x"}, {"url": "x", "score": 1, "nested": {"k": [1]}}, [1], "a", None, 3.5]
    (tmp_path / "a.jsonl").write_bytes(b"".join(rows(f"{i}", metadata=kind) for i, kind in enumerate(kinds)))
    assert texts(tmp_path / "a.jsonl") == list("012345")


def test_lines_of_any_length(tmp_path, monkeypatch):
    values = ["", "x" * 100, None, "naïve\n— 中文 🙂", "y"]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + rows(*values).replace(b"\n", b"\r\n\n").rstrip())
    for block in (1, 10, 33, 1000):
        monkeypatch.setattr(reading, "BLOCK", block)
        assert texts(tmp_path / "a.jsonl") == values


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json.zst", "a.parquet"])
def test_from_any_row_on(tmp_path, monkeypatch, name):
    monkeypatch.setattr(reading, "BLOCK", 60)
    monkeypatch.setattr(reading, "ROWS", 3)
    values = [f"document {i}" if i % 3 else None for i in range(10)]
    if name.endswith("parquet"):
        pq.write_table(pa.table({"id": range(10), "text": values}), tmp_path / name, row_group_size=4)
    else:
        # In two parts, as programs that compress in parallel write them.
        parts = rows(*values[:4]), rows(*values[4:])
        compress = {".gz": gzip.compress, ".zst": lambda part: pa.compress(part, "zstd", asbytes=True)}
        (tmp_path / name).write_bytes(b"".join(map(compress.get((tmp_path / name).suffix, bytes), parts)))
    for skip in range(12):
        assert texts(tmp_path / name, skip=skip) == values[skip:]


def test_a_text_file_is_one_row(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("two\r\nlines — 中".encode()))
    assert texts(tmp_path / "a.txt.gz") == ["two\nlines — 中"]
    assert texts(tmp_path / "a.txt.gz", skip=1) == []


def test_nulls_are_not_a_missing_column(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(rows(None, None))
    assert texts(tmp_path / "a.jsonl") == [None, None]
    (tmp_path / "b.jsonl").write_bytes(b"\n\n" + rows("a", id=1))
    with pytest.raises(ColumnError, match="b.jsonl has no column 'body'; its columns are: text, id$"):
        texts(tmp_path / "b.jsonl", column="body")


def test_what_is_no_row_of_text_is_an_error(tmp_path):
    for row in ('{"text": 3}', '{"text": {"a": 1}}', '[{"text": "a"}]', '{"text": "a"', '"a"'):
        (tmp_path / "a.json").write_text(row + "\n")
        with pytest.raises(ValueError, match="JSON parse error"):
            texts(tmp_path / "a.json")


def test_how_much_text_there_is_about(tmp_path):
    values = [f"{i} " * 300 for i in range(200)]
    total = sum(map(len, values))
    (tmp_path / "a.txt").write_text("".join(values))
    (tmp_path / "a.jsonl").write_bytes(rows(*values))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows(*values)))
    pq.write_table(pa.table({"text": values, "other": ["x" * 999] * 200}), tmp_path / "a.parquet")
    assert expected_bytes(tmp_path / "a.txt", "text") == total
    assert expected_bytes(tmp_path / "a.jsonl", "text") == pytest.approx(total, rel=0.05)
    assert expected_bytes(tmp_path / "a.jsonl.gz", "text") == 3 * (tmp_path / "a.jsonl.gz").stat().st_size
    assert expected_bytes(tmp_path / "a.parquet", "text") == pytest.approx(total, rel=0.05)
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    assert expected_bytes(tmp_path / "b.parquet", "text") == 0
