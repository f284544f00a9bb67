"""Datasets on the hub, read from a folder that stands in for it and from a server on this machine."""

import gzip
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import datasets
import fsspec
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from hcexp.data.text import reading
from hcexp.data.text.hub import HubSource

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in place of the hub; gives the path of a file in its some/dataset."""

    class Hub(DirFileSystem):
        protocol = "hf"

        def __init__(self, endpoint=None, token=None, **more):
            super().__init__(path=str(tmp_path / "hub"), fs=LocalFileSystem())

    def path(name: str):
        path = tmp_path / "hub" / "datasets" / "some" / f"dataset@{COMMIT}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    monkeypatch.setattr(huggingface_hub, "HfFileSystem", Hub)
    genuine = fsspec.get_filesystem_class("hf")
    fsspec.register_implementation("hf", Hub, clobber=True)
    yield path
    fsspec.register_implementation("hf", genuine, clobber=True)


def lines(*texts, **more):
    return "".join(json.dumps({"text": text, **more}) + "\n" for text in texts).encode()


def at(**more) -> HubSource:
    return HubSource("some/dataset", revision=COMMIT, **more)


def documents(source: HubSource) -> list[str]:
    """Every document; from the end of each the next ones can be read."""
    read = list(source.read())
    for i, document in enumerate(read):
        assert list(source.read(document.end)) == read[i + 1 :]
    return [document.text for document in read]


def test_files_that_match(hub, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 20)
    monkeypatch.setattr(reading, "ROWS", 1)
    hub("data/code/0.json.gz").write_bytes(gzip.compress(lines("a", k={"stars": 3}) + lines("b", k={"url": "x"})))
    hub("data/web/0.json.zst").write_bytes(
        b"".join(pa.compress(some, "zstd", asbytes=True) for some in (lines("c", "d"), lines("e")))
    )
    hub("data/web/1.jsonl").write_bytes(lines("f"))
    pq.write_table(pa.table({"id": [1, 2], "text": ["g", "h"]}), hub("data/wiki/0.parquet"))
    hub("README.md").write_bytes(b"not read")
    assert documents(at(data_files="data/*/*")) == list("abcdefgh")
    assert documents(at(data_files=["data/w*/*.parquet", "data/code/*"])) == list("ghab")
    with pytest.raises(ValueError, match=r"^hub dataset some/dataset/books/\*: data_files='books/\*' matches none"):
        documents(at(data_files="books/*"))
    # In a drawn order they are whole, and always in that order.
    drawn = [at(data_files="data/*/*", file_seed=seed).read() for seed in [*range(8), *range(8)]]
    orders = ["".join(document.text for document in read) for read in drawn]
    assert orders[:8] == orders[8:] and len(set(orders)) > 3
    for one in orders:
        assert sorted(one) == list("abcdefgh") and all(file in one for file in ("ab", "cde", "f", "gh"))


@pytest.fixture
def address(tmp_path):
    """Of a server of the files in `served`, which refuses Python's own name and to compress what is compressed."""

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self):
            if self.headers["User-Agent"].startswith("Python") or "gzip" in self.headers.get("Accept-Encoding", ""):
                return self.send_error(403)
            return super().send_head()

        def log_message(self, *_):
            pass

    handler = partial(Handler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_list_of_addresses(hub, address, tmp_path):
    (tmp_path / "served").mkdir()
    for name, texts in {"a": "ab", "b": "c"}.items():
        (tmp_path / "served" / f"{name}.json.gz").write_bytes(gzip.compress(lines(*texts)))
    hub("some.txt").write_text(f"{address}/a.json.gz\n{address}/b.json.gz\n")
    hub("none.txt").write_text("\n")
    hub("gone.txt").write_text(f"{address}/gone.json.gz")
    assert documents(at(url_list="some.txt")) == list("abc")
    with pytest.raises(ValueError, match="url_list='none.txt' lists no file"):
        documents(at(url_list="none.txt"))
    with pytest.raises(ConnectionError, match="^hub dataset some/dataset/gone.txt cannot be read: .*gone.json.gz"):
        documents(at(url_list="gone.txt"))


def test_the_shards_that_datasets_streams(tmp_path):
    # `datasets` takes a folder where it takes a name on the hub.
    for i, texts in enumerate(["ab", "c", "def"]):
        (tmp_path / f"train-{i}.jsonl").write_bytes(lines(*texts))
    source = HubSource(str(tmp_path))
    assert documents(source) == list("abcdef")
    assert source.share((0, 0), 0) == 0 and source.share((3, 0), 6) == 1
    with pytest.raises(ValueError, match="no column 'body'; its columns are: text"):
        documents(HubSource(str(tmp_path), column="body"))
    with pytest.raises(ValueError, match="(?s)test.*train"):
        documents(HubSource(str(tmp_path), split="test"))


def test_a_hub_that_cannot_be_reached(monkeypatch):
    def fail(path, *arguments, streaming, revision, **more):
        assert path == "some/dataset" and streaming and "trust_remote_code" not in more and revision == COMMIT
        raise RuntimeError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(ConnectionError, match="^hub dataset some/dataset/en/train cannot be read: no route to host$"):
        documents(at(config="en"))


def test_it_is_named_by_its_commit_alone_and_its_checksum_is_of_what_names_it():
    for revision in (None, "main", COMMIT[:7]):
        with pytest.raises(ValueError, match=f"^revision={revision or 'null'} of hub=some/dataset: allowed is"):
            HubSource("some/dataset", revision=revision)
    with pytest.raises(ValueError, match="one of data_files='b' and url_list='c', not both"):
        at(data_files="b", url_list="c")
    others = [{"config": "en"}, {"split": "validation"}, {"column": "body"}, {"data_files": "a"}, {"url_list": "a"}]
    others += [{"file_seed": 0}, {"document_start": "a"}, {"revision": "0" * 40}]
    assert len({HubSource("some/dataset", **{"revision": COMMIT, **other}).checksum for other in [{}, *others]}) == 9
    # Runs are named by it.
    for more, expected in [
        ({}, "b4d9cc4f8ecee3e1e9cda1d38ebfcdae6f5123c4c06d79c4931e9f5820f0cbec"),
        ({"file_seed": 0, "document_start": "a"}, "d8ee0deda9b8a4d1ba3e954529d52529f6326fbd7dd387dc50b1177d65ad7cd4"),
    ]:
        assert HubSource("some/dataset", config="en", revision="0" * 40, **more).checksum == expected
