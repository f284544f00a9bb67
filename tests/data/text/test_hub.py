"""Datasets on the hub, read from a folder that stands in for it and from a server on this machine."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from hcexp.data import TextSource, prepare
from hcexp.data.text.hub import commit_of

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Puts files into a dataset some/dataset on a hub that is a folder."""
    root = tmp_path / "hub"

    class Hub(DirFileSystem):
        protocol = "hf"

        def __init__(self, endpoint=None, token=None, **more):
            super().__init__(path=str(root), fs=LocalFileSystem())

    monkeypatch.setattr(huggingface_hub, "HfFileSystem", Hub)
    genuine = fsspec.get_filesystem_class("hf")
    fsspec.register_implementation("hf", Hub, clobber=True)

    def put(name: str, content: bytes) -> Path:
        path = root / "datasets" / "some" / f"dataset@{COMMIT}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    yield put
    fsspec.register_implementation("hf", genuine, clobber=True)


def lines(*texts: str, **more) -> bytes:
    return "".join(json.dumps({"text": text, **more}) + "\n" for text in texts).encode()


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def documents(source: TextSource) -> list[str]:
    return [document.text for document in source.read()]


@pytest.fixture
def of_sources(hub) -> TextSource:
    """Files of every kind, a folder a source."""
    hub("data/code/0.json.gz", gzip.compress(lines("a", metadata={"stars": 3}) + lines("b", metadata={"url": "x"})))
    hub("data/web/0.json.zst", zstd(lines("c", "d")) + zstd(lines("e")))
    hub("data/web/1.jsonl", lines("f"))
    path = hub("data/wiki/0.parquet", b"")
    pq.write_table(pa.table({"id": [1, 2], "text": ["g", "h"]}), path)
    hub("README.md", b"not read")
    return TextSource(hub="some/dataset", data_files="data/*/*", revision=COMMIT)


def test_files_that_match(of_sources):
    assert documents(of_sources) == list("abcdefgh")
    some = TextSource(hub="some/dataset", data_files=["data/w*/*.parquet", "data/code/*"], revision=COMMIT)
    assert documents(some) == list("ghab")
    with pytest.raises(ValueError, match=r"^hub dataset some/dataset/books/\*: data_files='books/\*' matches none"):
        documents(TextSource(hub="some/dataset", data_files="books/*", revision=COMMIT))


def test_every_document_ends_where_the_next_begins(of_sources):
    read = list(of_sources.read())
    for i, document in enumerate(read):
        assert list(of_sources.read(document.end)) == read[i + 1 :]


def test_files_in_a_drawn_order_are_whole_and_always_in_that_order(of_sources):
    def order(seed):
        source = TextSource(hub="some/dataset", data_files="data/*/*", revision=COMMIT, file_seed=seed)
        return "".join(documents(source))

    orders = {order(seed) for seed in range(20)}
    assert len(orders) > 5 and order(0) == order(0)
    for one in orders:
        assert sorted(one) == list("abcdefgh")
        assert all(file in one for file in ("ab", "cde", "f", "gh"))


def test_rows_that_make_documents(hub):
    rows = ["", " = One = \n", "", " first \n", " = = Part = = \n", " = Two = \n", " second \n"]
    hub("data/0.jsonl", lines(*rows[:4]))
    hub("data/1.jsonl", lines(*rows[4:]))
    source = TextSource(hub="some/dataset", data_files="data/*", revision=COMMIT, document_start=" = (?!= ).* = $")
    read = list(source.read())
    assert [document.text for document in read] == ["".join(rows[:5]), "".join(rows[5:])]
    assert read[0].end == (1, 1) and list(source.read(read[0].end)) == read[1:]
    assert list(source.read(read[1].end)) == []


class Server(BaseHTTPRequestHandler):
    """Refuses Python's own name, and to compress again what is compressed."""

    def do_GET(self, body=True):
        content = self.server.files.get(self.path)
        refused = {
            404: content is None,
            403: self.headers["User-Agent"].startswith("Python"),
            406: "gzip" in self.headers.get("Accept-Encoding", ""),
        }
        if any(refused.values()):
            self.send_error(next(status for status, is_so in refused.items() if is_so))
            return
        first, last = 0, len(content) - 1
        if span := self.headers.get("Range"):
            first, _, end = span.removeprefix("bytes=").partition("-")
            first, last = int(first), min(int(end or last), last)
        part = content[first : last + 1]
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.wfile.write(part)

    def do_HEAD(self):
        self.do_GET(body=False)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Serves files on the loopback address: `serve({path: content})` gives the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.files = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def serve(files):
            server.files |= files
            return f"http://127.0.0.1:{server.server_port}"

        yield serve
        server.shutdown()


def test_a_list_of_addresses(hub, serve):
    address = serve({"/a.json.gz": gzip.compress(lines("a", "b")), "/b.json.gz": gzip.compress(lines("c"))})
    hub("urls/all.txt", f"{address}/a.json.gz\n{address}/b.json.gz\n".encode())
    source = TextSource(hub="some/dataset", url_list="urls/all.txt", revision=COMMIT)
    assert documents(source) == list("abc")
    hub("urls/none.txt", b"\n")
    with pytest.raises(ValueError, match="url_list='urls/none.txt' lists no file"):
        documents(TextSource(hub="some/dataset", url_list="urls/none.txt", revision=COMMIT))


def test_an_address_that_is_not_there(hub, serve):
    hub("urls/all.txt", f"{serve({})}/a.json.gz".encode())
    source = TextSource(hub="some/dataset", url_list="urls/all.txt", revision=COMMIT)
    with pytest.raises(ConnectionError, match="^hub dataset some/dataset/urls/all.txt cannot be read: .*a.json.gz"):
        documents(source)


def test_the_commit_is_looked_up_and_noted(of_sources, tmp_path, tokenizer, monkeypatch):
    class Info:
        sha = COMMIT

    asked = []
    monkeypatch.setattr(
        huggingface_hub.HfApi, "dataset_info", lambda self, hub, revision: asked.append((hub, revision)) or Info
    )
    newest = TextSource(hub="some/dataset", data_files="data/*/*")
    store = prepare(newest, tokenizer, tmp_path / "cache", progress=False)
    assert asked == [("some/dataset", None)]
    assert [source["revision"] for source in store.sources.values()] == [COMMIT]
    assert store.documents == 8

    pinned = prepare(of_sources, tokenizer, tmp_path / "cache", progress=False)
    assert len(asked) == 1 and pinned.checksum == store.checksum and pinned.folder != store.folder


def test_a_hub_that_cannot_say_its_commit(monkeypatch, tmp_path, tokenizer):
    def fail(self, hub, revision):
        raise RuntimeError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
    with pytest.raises(ConnectionError, match="^hub dataset some/dataset/train cannot be read: no route to host$"):
        prepare(TextSource(hub="some/dataset"), tokenizer, tmp_path / "cache", progress=False)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_commit_is_itself(tmp_path):
    assert commit_of("some/dataset", COMMIT) == COMMIT
    assert commit_of(str(tmp_path), None) is None


def test_the_shards_that_datasets_streams(tmp_path):
    # `datasets` takes a folder where it takes a name on the hub.
    for i, texts in enumerate(["ab", "c", "def"]):
        (tmp_path / f"train-{i}.jsonl").write_bytes(lines(*texts))
    source = TextSource(hub=str(tmp_path))
    read = list(source.read())
    assert [document.text for document in read] == list("abcdef")
    for i, document in enumerate(read):
        assert list(source.read(document.end)) == read[i + 1 :]
    assert source.share((0, 0), 0) == 0 and source.share((3, 0), 6) == 1
