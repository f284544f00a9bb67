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


def test_json_has_lines_of_any_length_and_other_fields_of_any_kind(tmp_path, monkeypatch):
    """As in web corpora; `datasets` stops at the second of these kinds."""
    kinds = [{"url": "x"}, {"url": "x", "score": 1, "nested": {"k": [1]}}, [1], "a", None, 3.5]
    values = ["", "x" * 100, None, "naïve\n— 中文 🙂", "y", "z"]
    lines = b"".join(rows(value, metadata=kind) for value, kind in zip(values, kinds, strict=True))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.replace(b"\n", b"\r\n\n").rstrip())
    for block in (1, 10, 33, 1000):
        monkeypatch.setattr(reading, "BLOCK", block)
        assert texts(tmp_path / "a.jsonl") == values


def test_a_text_file_is_one_row(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("two\r\nlines — 中".encode()))
    assert texts(tmp_path / "a.txt.gz") == ["two\nlines — 中"]
    assert texts(tmp_path / "a.txt.gz", skip=1) == []


def test_nulls_are_not_a_missing_column_and_what_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(rows(None, None))
    assert texts(path) == [None, None]
    path.write_bytes(b"\n\n" + rows("a", id=1))
    with pytest.raises(ColumnError, match="a.json has no column 'body'; its columns are: text, id$"):
        texts(path, column="body")
    for row in ('{"text": 3}', '{"text": {"a": 1}}', '[{"text": "a"}]', '{"text": "a"', '"a"'):
        path.write_text(row + "\n")
        with pytest.raises(ValueError, match="JSON parse error"):
            texts(path)


def test_how_much_text_there_is_about(tmp_path):
    values = [f"{i} " * 300 for i in range(200)]
    total = sum(map(len, values))
    zipped = gzip.compress(rows(*values))
    pq.write_table(pa.table({"text": values, "other": ["x" * 999] * 200}), tmp_path / "a.parquet")
    for name, content, expected in [
        ("a.txt", "".join(values).encode(), total),
        ("a.jsonl", rows(*values), pytest.approx(total, rel=0.05)),
        ("a.jsonl.gz", zipped, 3 * len(zipped)),
        ("a.parquet", (tmp_path / "a.parquet").read_bytes(), pytest.approx(total, rel=0.05)),
        ("b.parquet", b"no parquet", 0),
    ]:
        (tmp_path / name).write_bytes(content)
        assert expected_bytes(tmp_path / name, "text") == expected
