"""Datasets on the hub, read from a folder that stands in for it and from a server on this machine."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import fsspec
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from hcexp.data import HubSource

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


def at(**more) -> HubSource:
    return HubSource("some/dataset", revision=COMMIT, **more)


def documents(source: HubSource) -> list[str]:
    """Every document; from the end of each the next ones can be read."""
    read = list(source.read())
    for i, document in enumerate(read):
        assert list(source.read(document.end)) == read[i + 1 :]
    return [document.text for document in read]


@pytest.fixture
def files(hub):
    """Files of every kind, a folder a source."""
    hub("data/code/0.json.gz", gzip.compress(lines("a", metadata={"stars": 3}) + lines("b", metadata={"url": "x"})))
    hub("data/web/0.json.zst", zstd(lines("c", "d")) + zstd(lines("e")))
    hub("data/web/1.jsonl", lines("f"))
    pq.write_table(pa.table({"id": [1, 2], "text": ["g", "h"]}), hub("data/wiki/0.parquet", b""))
    hub("README.md", b"not read")


def test_files_that_match(files):
    assert documents(at(data_files="data/*/*")) == list("abcdefgh")
    assert documents(at(data_files=["data/w*/*.parquet", "data/code/*"])) == list("ghab")
    with pytest.raises(ValueError, match=r"^hub dataset some/dataset/books/\*: data_files='books/\*' matches none"):
        documents(at(data_files="books/*"))


def test_files_in_a_drawn_order_are_whole_and_always_in_that_order(files):
    orders = ["".join(document.text for document in at(data_files="data/*/*", file_seed=seed).read())
              for seed in [*range(8), *range(8)]]  # fmt: skip
    assert orders[:8] == orders[8:] and len(set(orders)) > 3
    for one in orders:
        assert sorted(one) == list("abcdefgh") and all(file in one for file in ("ab", "cde", "f", "gh"))


def test_rows_that_make_documents_over_files(hub):
    rows = ["", " = One = \n", "", " first \n", " = = Part = = \n", " = Two = \n", " second \n"]
    hub("data/0.jsonl", lines(*rows[:4]))
    hub("data/1.jsonl", lines(*rows[4:]))
    source = at(data_files="data/*", document_start=" = (?!= ).* = $")
    assert documents(source) == ["".join(rows[:5]), "".join(rows[5:])]
    assert next(source.read()).end == (1, 1)


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
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def serve(files):
            server.files |= files
            return f"http://127.0.0.1:{server.server_port}"

        yield serve
        server.shutdown()


def test_a_list_of_addresses(hub, serve):
    address = serve({"/a.json.gz": gzip.compress(lines("a", "b")), "/b.json.gz": gzip.compress(lines("c"))})
    hub("urls/all.txt", f"{address}/a.json.gz\n{address}/b.json.gz\n".encode())
    assert documents(at(url_list="urls/all.txt")) == list("abc")
    hub("urls/none.txt", b"\n")
    with pytest.raises(ValueError, match="url_list='urls/none.txt' lists no file"):
        documents(at(url_list="urls/none.txt"))
    hub("urls/gone.txt", f"{address}/gone.json.gz".encode())
    with pytest.raises(ConnectionError, match="^hub dataset some/dataset/urls/gone.txt cannot be read: .*gone.json.gz"):
        documents(at(url_list="urls/gone.txt"))


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


def test_it_is_named_by_its_commit_alone():
    for revision in (None, "main", "v1.0", COMMIT[:7]):
        with pytest.raises(ValueError, match=f"^revision={revision or 'null'} of hub=some/dataset: allowed is"):
            HubSource("some/dataset", revision=revision)
    with pytest.raises(ValueError, match="one of data_files='b' and url_list='c', not both"):
        at(data_files="b", url_list="c")


def test_the_checksum_is_of_what_names_it():
    others = [{"config": "en"}, {"split": "validation"}, {"column": "body"}, {"data_files": "a"}, {"url_list": "a"},
              {"file_seed": 0}, {"document_start": "a"}]  # fmt: skip
    sources = [at(), *(at(**other) for other in others), HubSource("some/dataset", revision="0" * 40)]
    assert len({source.checksum for source in sources}) == 9
    # Runs are named by it.
    of_old = HubSource("some/dataset", config="en", revision="0" * 40)
    assert of_old.checksum == "b4d9cc4f8ecee3e1e9cda1d38ebfcdae6f5123c4c06d79c4931e9f5820f0cbec"
    of_old = HubSource("some/dataset", config="en", revision="0" * 40, file_seed=0, document_start="a")
    assert of_old.checksum == "d8ee0deda9b8a4d1ba3e954529d52529f6326fbd7dd387dc50b1177d65ad7cd4"
