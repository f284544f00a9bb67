import gzip
import json
import re
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcexp.data import LocalSource
from hcexp.data.text import local, reading

MIXED = ["a first document\nof two lines", "b", "c", "d", "e", "f", "g"]


def documents(files, **more) -> list[str]:
    """Every document; from the end of each the next ones can be read."""
    source = LocalSource(files, **more)
    read = list(source.read())
    for i, document in enumerate(read):
        assert list(source.read(document.end)) == read[i + 1 :]
    return [document.text for document in read]


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
    source, path = LocalSource(mixed_folder), mixed_folder / "1.txt"
    assert (source.share((0, 0), 0), source.share((5, 0), 10**6)) == (0, 1)
    assert LocalSource(path).share((0, 0), path.stat().st_size / 2) == 0.5


def test_rows_that_make_documents(tmp_path):
    rows = ["no title\n", "# A\n", "a\n", "", "# B\n", "# C\n", "c"]
    for name, some in {"a": rows[:2], "b": rows[2:]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"body": row}) + "\n" for row in some))
    joined = ["no title\n", "# A\na\n", "# B\n", "# C\nc"]
    assert documents(tmp_path, column="body", document_start="# ") == joined
    with pytest.raises(ValueError, match=r"document_start='\(' is no regular expression: "):
        LocalSource(tmp_path, document_start="(")


def test_the_checksum_is_of_content_and_order_not_of_names(tmp_path):
    for folder, texts in {"one": "ab", "same": "ab", "swapped": "ba", "other": "cb"}.items():
        (tmp_path / folder).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / folder / f"{folder}{i}.txt").write_text(text)
    one, *others = [LocalSource(tmp_path / name) for name in ("one", "swapped", "other")]
    others += [LocalSource(tmp_path / "one", column="body"), LocalSource(tmp_path / "one", document_start="a")]
    assert len({source.checksum for source in [one, *others]}) == 5
    assert LocalSource(tmp_path / "same").checksum == one.checksum
    # Runs are named by it.
    (tmp_path / "a.txt").write_text("text")
    for more, expected in [
        ({}, "03065d9bec9eabbde2a1075ed0499d9e9a38ee9c8f0f8cac232b6aa98ef4381f"),
        ({"document_start": "a"}, "1cd80d9bd8e79c3ada02bbc24740e9205a00f736d9a3f88780df3eef666ba44e"),
    ]:
        assert LocalSource(tmp_path / "a.txt", **more).checksum == expected


def test_the_checksums_of_files_are_remembered_in_the_cache(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(local, "file_checksum", lambda *arguments: asked.append(arguments))
    (tmp_path / "a.txt").touch()
    _ = LocalSource(tmp_path, cache="cache").checksum
    assert asked == [(tmp_path / "a.txt", "cache")]


ROWS = b'{"text": "x"}\n' * 999


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("b.parquet", b"PAR1 is not enough", "cannot be read as parquet"),
        ("b.jsonl", b'{"text": "x"}\n{"text":\n', "cannot be read as json"),
        ("b.txt", b"caf\xe9", "is not UTF-8 text"),
        ("b.jsonl.gz", gzip.compress(ROWS)[:-20], "cannot be read as json"),
        ("b.jsonl.zst", pa.compress(ROWS, "zstd", asbytes=True)[:-9], "cannot be read as json"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path, name, content, how, capfd):
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"\A[^\n]*{name} {how}[^\n]*\Z"):
        documents(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_what_is_not_there_or_no_text_is_named(tmp_path):
    row = {"body": "x", "id": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    pq.write_table(pa.table({key: [value] for key, value in row.items()}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").touch()
    (tmp_path / "empty").mkdir()
    for name, column, error, message in [
        ("a.jsonl", "text", ValueError, r"a\.jsonl has no column 'text'; its columns are: body, id$"),
        ("a.parquet", "text", ValueError, r"a\.parquet has no column 'text'; its columns are: body, id$"),
        ("a.parquet", "id", ValueError, r"a\.parquet: column 'id' holds int64, not text"),
        ("a.csv", "text", ValueError, r"a\.csv: unknown format; known are \.txt"),
        *((name, "text", FileNotFoundError, rf"\Afiles='{tmp_path}/{re.escape(name)}'[^\n]*\Z")
          for name in ("missing.txt", "*.txt", "empty", "none*/x")),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            documents(f"{tmp_path}/{name}", column=column)
    with pytest.raises(ValueError, match="empty list"):
        documents([])
