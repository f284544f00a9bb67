import gzip
import json
import socket
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcexp.data import TextSource
from hcexp.data.text import source

MIXED = ["a first document\nof two lines", "b", "c", "d", "e", "f", "g"]


def documents(text_source: TextSource) -> list[str]:
    return [document for batch in text_source.documents() for document in batch]


def test_a_folder_of_every_format_in_order_without_empty_documents(mixed_folder):
    assert documents(TextSource(mixed_folder)) == MIXED


def test_every_document_ends_where_the_next_begins(mixed_folder):
    text_source = TextSource(mixed_folder)
    read = list(text_source.read())
    assert [document.text for document in read] == MIXED
    for i, document in enumerate(read):
        assert list(text_source.read(document.end)) == read[i + 1 :]


def test_about_how_much_has_been_read(mixed_folder):
    text_source = TextSource(mixed_folder)
    assert text_source.share((0, 0), 0) == 0 and text_source.share((5, 0), 10**6) == 1
    path = mixed_folder / "1.txt"
    assert TextSource(path).share((0, 0), path.stat().st_size / 2) == 0.5


def test_rows_that_make_documents(tmp_path):
    rows = ["no title\n", "# A\n", "a\n", "", "# B\n", "# C\n", "c"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    text_source = TextSource(tmp_path, document_start="# ")
    read = list(text_source.read())
    assert [document.text for document in read] == ["no title\n", "# A\na\n", "# B\n", "# C\nc"]
    for i, document in enumerate(read):
        assert list(text_source.read(document.end)) == read[i + 1 :]
    assert text_source.checksum != TextSource(tmp_path).checksum


def test_local_files_need_no_network(mixed_folder, monkeypatch):
    tried = []

    def refuse(*arguments, **more):
        tried.append(arguments)  # it would not do to raise: who calls may ignore it
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert documents(TextSource(str(mixed_folder))) == MIXED
    assert not tried


def test_a_glob_and_a_list(mixed_folder):
    assert documents(TextSource(f"{mixed_folder}/*.txt")) == MIXED[:1]
    assert documents(TextSource(f"{mixed_folder}/**/*.txt")) == [MIXED[0], "g"]
    files = [mixed_folder / "4.parquet", f"{mixed_folder}/2*"]
    assert documents(TextSource(files)) == ["e", "f", "b", "c"]


def test_another_column(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"body": "x", "text": "y"}) + "\n")
    assert documents(TextSource(tmp_path, column="body")) == ["x"]


def test_a_batch_is_bounded_by_documents_and_by_characters(tmp_path, monkeypatch):
    texts = ["x" * 10] * 7 + ["y" * 100] + ["z"] * 3
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    monkeypatch.setattr(source, "BATCH_DOCUMENTS", 4)
    monkeypatch.setattr(source, "BATCH_CHARACTERS", 100)
    batches = list(TextSource(tmp_path).documents())
    assert sum(batches, []) == texts
    assert list(map(len, batches)) == [4, 4, 3]
    monkeypatch.setattr(source, "BATCH_DOCUMENTS", 1000)
    assert list(map(len, TextSource(tmp_path).documents())) == [8, 3]


def test_the_checksum_is_of_content_and_order_not_of_names(tmp_path):
    for folder, texts in {"one": "ab", "same": "ab", "swapped": "ba"}.items():
        (tmp_path / folder).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / folder / f"{folder}{i}.txt").write_text(text)
    one, same, swapped = (TextSource(tmp_path / name).checksum for name in ("one", "same", "swapped"))
    assert one == same != swapped
    assert TextSource(tmp_path / "one", column="body").checksum != one
    (tmp_path / "same" / "same0.txt").write_text("c")
    assert TextSource(tmp_path / "same").checksum != one


def test_the_checksum_of_a_hub_dataset_is_of_what_names_it():
    def of(**arguments):
        return TextSource(hub="some/dataset", **arguments).checksum

    assert of() == of()
    others = [{"config": "en"}, {"split": "validation"}, {"revision": "abc"}, {"column": "body"}]
    assert len({of(), *(of(**other) for other in others)}) == 5


def test_the_checksum_of_what_was_always_there_is_what_it_always_was(tmp_path):
    """Runs are named by it."""
    (tmp_path / "a.txt").write_text("text")
    assert TextSource(tmp_path).checksum == "03065d9bec9eabbde2a1075ed0499d9e9a38ee9c8f0f8cac232b6aa98ef4381f"
    assert (
        TextSource(hub="some/dataset", config="en").checksum
        == "b6227cf47e08cc694c1860d23925b597dd09f5c7ad397ecc868fa855df772c58"
    )
    more = [{"data_files": "a"}, {"url_list": "a"}, {"file_seed": 0}, {"document_start": "a"}]
    assert len({TextSource(hub="some/dataset", **one).checksum for one in [{}, *more]}) == 5


def test_a_hub_dataset_is_streamed(tmp_path):
    # `datasets` takes a folder where it takes a name on the hub.
    (tmp_path / "validation.jsonl").write_text('{"body": "x", "id": 1}\n{"body": "y", "id": 2}\n')
    assert documents(TextSource(hub=str(tmp_path), split="validation", column="body")) == ["x", "y"]
    with pytest.raises(ValueError, match="no column 'text'; its columns are: body, id"):
        documents(TextSource(hub=str(tmp_path), split="validation"))
    with pytest.raises(ValueError, match="(?s)test.*validation"):
        documents(TextSource(hub=str(tmp_path), split="test"))


def test_a_hub_that_cannot_be_reached(monkeypatch):
    def fail(path, *arguments, streaming, **more):
        assert path == "some/dataset" and streaming and "trust_remote_code" not in more
        raise RuntimeError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(ConnectionError, match="^hub dataset some/dataset/en/train cannot be read: no route to"):
        documents(TextSource(hub="some/dataset", config="en"))


@pytest.mark.parametrize("arguments", [{}, {"files": "a", "hub": "b"}])
def test_exactly_one_of_files_and_hub(arguments):
    with pytest.raises(ValueError, match="one of files and hub"):
        TextSource(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"files": "a", "data_files": "b"}, "data_files='b' goes with hub=…, and files='a' are local"),
        ({"files": "a", "file_seed": 0}, "file_seed=0 goes with hub="),
        ({"hub": "a", "data_files": "b", "url_list": "c"}, "one of data_files='b' and url_list='c', not both"),
        ({"hub": "a", "document_start": "("}, r"document_start='\(' is no regular expression: "),
    ],
)
def test_what_does_not_go_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        TextSource(**arguments)


@pytest.mark.parametrize("entry", ["missing.txt", "*.jsonl", "", "none*/"])
def test_files_that_are_not_there(tmp_path, entry):
    with pytest.raises(FileNotFoundError) as error:
        TextSource(str(tmp_path / entry))
    assert str(tmp_path / entry) in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_format(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=r"a\.csv: unknown format; known are \.txt"):
        TextSource(tmp_path / "a.csv")


def test_an_empty_list():
    with pytest.raises(ValueError, match="empty list"):
        TextSource([])


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
    with pytest.raises(ValueError, match=name) as error:
        documents(TextSource(tmp_path))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_not_utf8_says_so(tmp_path):
    write_broken(tmp_path / "b.txt")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        documents(TextSource(tmp_path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
@pytest.mark.parametrize("row", [{"body": "x"}, {"body": "x", "id": 1}])
def test_a_missing_column_is_named_with_those_there_are(tmp_path, name, row):
    if name == "a.jsonl":
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    else:
        pq.write_table(pa.table({key: [value] for key, value in row.items()}), tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} has no column 'text'; its columns are: {', '.join(row)}$"):
        documents(TextSource(tmp_path))


def test_a_column_that_is_not_text(tmp_path):
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: column 'text' holds int64, not text"):
        documents(TextSource(tmp_path))
