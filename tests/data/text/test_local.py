import gzip
import json
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcexp.data import LocalSource
from hcexp.disk import checksum

MIXED = ["a first document\nof two lines", "b", "c", "d", "e", "f", "g"]


def documents(files, **more) -> list[str]:
    """Every document; from the end of each the next ones can be read."""
    source = LocalSource(files, **more)
    read = list(source.read())
    for i, document in enumerate(read):
        assert list(source.read(document.end)) == read[i + 1 :]
    return [document.text for document in read]


def test_a_folder_of_every_format_in_order_without_a_network(mixed_folder, monkeypatch):
    tried = []

    def refuse(*arguments, **more):
        tried.append(arguments)  # it would not do to raise: who calls may ignore it
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert documents(str(mixed_folder)) == MIXED  # without the empty ones
    assert not tried


def test_a_glob_and_a_list(mixed_folder):
    assert documents(f"{mixed_folder}/*.txt") == MIXED[:1]
    assert documents(f"{mixed_folder}/**/*.txt") == [MIXED[0], "g"]
    assert documents([mixed_folder / "4.parquet", f"{mixed_folder}/2*"]) == ["e", "f", "b", "c"]


def test_about_how_much_has_been_read(mixed_folder):
    source = LocalSource(mixed_folder)
    assert source.share((0, 0), 0) == 0 and source.share((5, 0), 10**6) == 1
    path = mixed_folder / "1.txt"
    assert LocalSource(path).share((0, 0), path.stat().st_size / 2) == 0.5


def test_rows_that_make_documents(tmp_path):
    rows = ["no title\n", "# A\n", "a\n", "", "# B\n", "# C\n", "c"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": row}) + "\n" for row in rows))
    joined = ["no title\n", "# A\na\n", "# B\n", "# C\nc"]
    assert documents(tmp_path, column="body", document_start="# ") == joined
    with pytest.raises(ValueError, match=r"document_start='\(' is no regular expression: "):
        LocalSource(tmp_path, document_start="(")


def test_the_checksum_is_of_content_and_order_not_of_names(tmp_path):
    for folder, texts in {"one": "ab", "same": "ab", "swapped": "ba"}.items():
        (tmp_path / folder).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / folder / f"{folder}{i}.txt").write_text(text)
    one, same, swapped = (LocalSource(tmp_path / name).checksum for name in ("one", "same", "swapped"))
    assert one == same != swapped
    assert LocalSource(tmp_path / "one", column="body").checksum != one
    assert LocalSource(tmp_path / "one", document_start="a").checksum != one
    (tmp_path / "same" / "same0.txt").write_text("c")
    assert LocalSource(tmp_path / "same").checksum != one


def test_the_checksum_of_what_was_always_there_is_what_it_always_was(tmp_path):
    """Runs are named by it."""
    (tmp_path / "a.txt").write_text("text")
    assert LocalSource(tmp_path).checksum == "03065d9bec9eabbde2a1075ed0499d9e9a38ee9c8f0f8cac232b6aa98ef4381f"
    assert (
        LocalSource(tmp_path, document_start="a").checksum
        == "1cd80d9bd8e79c3ada02bbc24740e9205a00f736d9a3f88780df3eef666ba44e"
    )


def test_the_cache_remembers_the_checksum(tmp_path, monkeypatch):
    monkeypatch.setattr(checksum, "LEAST", 0)
    monkeypatch.setattr(checksum, "FRESH", -(10**12))
    (tmp_path / "a.txt").write_text("text")
    first = LocalSource(tmp_path / "a.txt", cache=tmp_path / "cache").checksum
    for remembered in (checksum._hash, checksum._remembered, checksum._memory):
        remembered.cache_clear()
    monkeypatch.setattr(checksum, "_hash", None)  # another process does not hash it
    assert LocalSource(tmp_path / "a.txt", cache=tmp_path / "cache").checksum == first


def test_files_that_are_not_there(tmp_path):
    for entry in ("missing.txt", "*.jsonl", "", "none*/"):
        with pytest.raises(FileNotFoundError) as error:
            documents(str(tmp_path / entry))
        assert str(tmp_path / entry) in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=r"a\.csv: unknown format; known are \.txt"):
        documents(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="empty list"):
        documents([])


def write_broken(path: Path) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(b'{"text": "x"}\n' * 999)[:-20])
    elif path.suffix == ".zst":
        path.write_bytes(pa.compress(b'{"text": "x"}\n' * 999, "zstd", asbytes=True)[:-9])
    else:
        path.write_bytes({".parquet": b"PAR1 is not enough", ".jsonl": b'{"text": "x"}\n{"text":\n',
                          ".txt": b"caf\xe9"}[path.suffix])  # fmt: skip


@pytest.mark.parametrize("name", ["b.parquet", "b.jsonl", "b.txt", "b.jsonl.gz", "b.jsonl.zst"])
def test_a_broken_file_is_named_in_one_line(tmp_path, name, capfd):
    (tmp_path / "a.txt").write_text("fine")
    write_broken(tmp_path / name)
    how = "is not UTF-8 text" if name == "b.txt" else "cannot be read as (json|parquet)"
    with pytest.raises(ValueError, match=f"{name} {how}") as error:
        documents(tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_column_that_is_not_there_or_no_text(tmp_path):
    row = {"body": "x", "id": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    pq.write_table(pa.table({key: [value] for key, value in row.items()}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(ValueError, match=rf"{name} has no column 'text'; its columns are: body, id$"):
            documents(tmp_path / name)
    with pytest.raises(ValueError, match=r"a\.parquet: column 'id' holds int64, not text"):
        documents(tmp_path / "a.parquet", column="id")
