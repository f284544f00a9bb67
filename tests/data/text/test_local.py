"""Local files as documents, and how the rows of a file are read, wherever it is."""

import gzip
import json
import re
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcexp.data import LocalSource
from hcexp.data.text import local, reading
from hcexp.data.text.reading import ColumnError, expected_bytes, read_texts

MIXED = ["a first document\nof two lines", "b", "c", "d", "e", "f", "g"]


def documents(files, **more) -> list[str]:
    """Every document; from the end of each the next ones can be read."""
    source = LocalSource(files, **more)
    read = list(source.read())
    for i, document in enumerate(read):
        assert list(source.read(document.end)) == read[i + 1 :]
    return [document.text for document in read]


def texts(path, column="text", skip=0) -> list[str | None]:
    return [text for some in read_texts(str(path), column, skip) for text in some]


def rows(*values, column="text", **more) -> bytes:
    return "".join(json.dumps({column: value, **more}) + "\n" for value in values).encode()


def test_files_of_every_format_in_order_without_a_network(mixed_folder, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 20)
    monkeypatch.setattr(reading, "ROWS", 1)
    tried = []

    def refuse(*arguments, **more):
        tried.append(arguments)  # it would not do to raise: who calls may ignore it
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert documents(str(mixed_folder)) == MIXED  # without the empty ones
    assert documents(f"{mixed_folder}/*.txt") == MIXED[:1]
    assert documents(f"{mixed_folder}/**/*.txt") == [MIXED[0], "g"]
    assert documents([mixed_folder / "4.parquet", f"{mixed_folder}/2*"]) == ["e", "f", "b", "c"]
    assert not tried


def test_rows_that_make_documents_and_a_text_file_is_one_row(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(rows("no title\n", "# A\n", column="body"))
    (tmp_path / "b.jsonl").write_bytes(rows("a\n", "", "# B\n", "# C\n", "c", column="body"))
    joined = ["no title\n", "# A\na\n", "# B\n", "# C\nc"]
    assert documents(tmp_path, column="body", document_start="# ") == joined
    with pytest.raises(ValueError, match=r"document_start='\(' is no regular expression: "):
        LocalSource(tmp_path, document_start="(")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("two\r\nlines — 中".encode()))
    assert texts(tmp_path / "a.txt.gz") == ["two\nlines — 中"] and texts(tmp_path / "a.txt.gz", skip=1) == []


def test_json_has_lines_of_any_length_and_other_fields_of_any_kind(tmp_path, monkeypatch):
    """As in web corpora; `datasets` stops at the second of these kinds."""
    kinds = [{"url": "x"}, {"url": "x", "score": 1, "nested": {"k": [1]}}, [1], "a", None, 3.5]
    values = ["", "x" * 100, None, "naïve\n— 中文 🙂", "y", "z"]
    lines = b"".join(rows(value, metadata=kind) for value, kind in zip(values, kinds, strict=True))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.replace(b"\n", b"\r\n\n").rstrip())
    for block in (1, 10, 33, 1000):
        monkeypatch.setattr(reading, "BLOCK", block)
        assert [texts(tmp_path / "a.jsonl", skip=skip) for skip in range(8)] == [values[skip:] for skip in range(8)]


def test_the_checksum_is_of_content_and_order_not_of_names(tmp_path, monkeypatch):
    for folder, some in {"one": "ab", "same": "ab", "swapped": "ba", "other": "cb", "named": ["text"]}.items():
        (tmp_path / folder).mkdir()
        for i, text in enumerate(some):
            (tmp_path / folder / f"{folder}{i}.txt").write_text(text)
    others = [("swapped", {}), ("other", {}), ("one", {"column": "body"}), ("one", {"document_start": "a"})]
    found = {LocalSource(tmp_path / name, **more).checksum for name, more in [("one", {}), ("same", {}), *others]}
    assert len(found) == 5
    # Runs are named by it.
    for more, expected in [
        ({}, "03065d9bec9eabbde2a1075ed0499d9e9a38ee9c8f0f8cac232b6aa98ef4381f"),
        ({"document_start": "a"}, "1cd80d9bd8e79c3ada02bbc24740e9205a00f736d9a3f88780df3eef666ba44e"),
    ]:
        assert LocalSource(tmp_path / "named", **more).checksum == expected
    asked = []
    monkeypatch.setattr(local, "file_checksum", lambda *arguments: asked.append(arguments))
    _ = LocalSource(tmp_path / "named", cache="cache").checksum
    assert asked == [(tmp_path / "named" / "named0.txt", "cache")]  # which remembers it


def test_how_much_there_is_about_and_has_been_read(mixed_folder, tmp_path):
    source, path = LocalSource(mixed_folder), mixed_folder / "1.txt"
    assert (source.share((0, 0), 0), source.share((5, 0), 10**6)) == (0, 1)
    assert LocalSource(path).share((0, 0), path.stat().st_size / 2) == 0.5
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"{i} " * 300 for i in range(200)], "other": ["x" * 999] * 200}), path)
    assert expected_bytes(path, "text") == pytest.approx(200 * 300 * 3.5, rel=0.1)
    path.write_bytes(b"no parquet")
    assert expected_bytes(path, "text") == 0
    path = mixed_folder / "3.jsonl.gz"
    assert expected_bytes(path, "text") == 3 * path.stat().st_size


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("b.parquet", b"PAR1 is not enough", "cannot be read as parquet"),
        ("b.jsonl", rows("x") + b'{"text":\n', "cannot be read as json"),
        ("b.txt", b"caf\xe9", "is not UTF-8 text"),
        ("b.jsonl.gz", gzip.compress(rows("x") * 999, mtime=0)[:-20], "cannot be read as json"),
        ("b.jsonl.zst", pa.compress(rows("x") * 999, "zstd", asbytes=True)[:-9], "cannot be read as json"),
        ("b.jsonl", rows("x", column="body", id=1), "has no column 'text'; its columns are: body, id"),
        ("b.csv", b"", ": unknown format; known are .txt"),
        *(
            ("b.json", row + b"\n", "cannot be read as json: JSON parse error")
            for row in (b'{"text": 3}', b'{"text": {"a": 1}}', b'[{"text": "a"}]', b'{"text": "a"', b'"a"')
        ),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path, name, content, how, capfd):
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"\A[^\n]*{name} ?{how}[^\n]*\Z"):
        documents([tmp_path / "a.txt", tmp_path / name])
    assert capfd.readouterr() == ("", "")


def test_what_is_not_there_or_no_text_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["x"], "id": [1]}), path)
    with pytest.raises(ColumnError, match=r"a\.parquet has no column 'text'; its columns are: body, id$"):
        documents(path)
    with pytest.raises(ColumnError, match=r"a\.parquet: column 'id' holds int64, not text"):
        documents(path, column="id")
    (tmp_path / "nulls.jsonl").write_bytes(rows(None, None))
    assert texts(tmp_path / "nulls.jsonl") == [None, None]  # are not a missing column
    (tmp_path / "empty").mkdir()
    for name in ("missing.txt", "*.txt", "empty", "none*/x"):
        with pytest.raises(FileNotFoundError, match=rf"\Afiles='{tmp_path}/{re.escape(name)}'[^\n]*\Z"):
            documents(f"{tmp_path}/{name}")
    with pytest.raises(ValueError, match="empty list"):
        documents([])
