import json
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from hcexp.evaluation.perplexity import download as room
from hcexp.evaluation.perplexity.download import download

BODY = bytes(range(256)) * 20
DIGEST = sha256(BODY).hexdigest()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "some" / "val.npy"


@pytest.fixture
def get(server, target, monkeypatch):
    """Downloads the file of the server."""
    (server.folder / "a b").mkdir()
    (server.folder / "a b" / "val.npy").write_bytes(BODY)
    monkeypatch.setattr(room, "PAUSE", 0.0)
    monkeypatch.setattr(room, "CHUNK", 100)
    return lambda **options: download(f"{server.url}/a%20b/val.npy", target, **options)


def test_processes_at_once_download_once(server, get, target, capsys):
    with ThreadPoolExecutor(4) as pool:
        assert {future.result() for future in [pool.submit(get) for _ in range(4)]} == {DIGEST}
    assert target.read_bytes() == BODY and get() == DIGEST
    assert server.requests == [(200, None)]
    assert capsys.readouterr().err == f"{server.url}/a%20b/val.npy: 0.0 MB downloaded\n"
    record = json.loads(target.with_name("val.npy.json").read_text())
    assert (record["bytes"], record["etag"], record["sha256"]) == (len(BODY), '"first"', DIGEST)
    assert not list(target.parent.glob("*partial*"))


@pytest.fixture
def begun(server, get, target):
    """Of a download that was given up, the first 1000 bytes are there."""
    server.breaks = [1000, 0, 0, 0]
    with pytest.raises(ConnectionError, match=r"^http://\S+ cannot be downloaded: .+$"):
        get()
    assert not target.exists() and target.with_name("val.npy.partial").stat().st_size == 1000
    server.requests.clear()


@pytest.mark.parametrize(("etag", "body"), [('"first"', BODY), ('"second"', BODY[::-1])])
def test_a_later_call_goes_on_but_parts_of_two_files_are_never_joined(server, get, target, begun, etag, body):
    (server.folder / "a b" / "val.npy").write_bytes(body)
    server.etag = etag
    assert get() == sha256(body).hexdigest() and target.read_bytes() == body
    assert server.requests == [(206 if body == BODY else 200, "bytes=999-")]
    assert json.loads(target.with_name("val.npy.json").read_text())["etag"] == etag


def test_a_download_that_ended_but_was_not_renamed(server, get, target, monkeypatch):
    replace = os.replace

    def killed(source, destination):
        if destination == target:
            raise KeyboardInterrupt
        replace(source, destination)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert get() == DIGEST and target.read_bytes() == BODY
    assert server.requests[1:] == [(206, f"bytes={len(BODY) - 1}-")]


@pytest.mark.parametrize(
    ("behaviour", "requests"),
    [
        # The last byte is asked for again; so the second answer, of one byte, brings nothing new.
        ({"breaks": [1000, 1]}, [(200, None), (206, "bytes=999-"), (206, "bytes=999-")]),
        ({"breaks": [1000], "etag": None, "dated": True}, [(200, None), (206, "bytes=999-")]),
        ({"breaks": [1000], "etag": None}, [(200, None), (200, None)]),
        ({"breaks": [1000], "etag": 'W/"weak"', "dated": True}, [(200, None), (200, None)]),
        ({"breaks": [1000], "ranges": False}, [(200, None), (200, "bytes=999-")]),
        ({"breaks": [1000], "most": 2000}, [(200, None), *((206, f"bytes={i}-") for i in (999, 2998, 4997))]),
        ({"length": False}, [(200, None)]),
        ({"answers": [503, 429]}, [(503, None), (429, None), (200, None)]),
    ],
    ids=str,
)
def test_whatever_the_server_does_the_file_comes_whole(server, get, target, behaviour, requests):
    """Parts are joined only where a strong validator says that they are of one file."""
    vars(server).update(behaviour)
    assert get() == DIGEST and target.read_bytes() == BODY
    assert server.requests == requests
    assert json.loads(target.with_name("val.npy.json").read_text())["bytes"] == len(BODY)


def test_another_part_than_was_asked_for_and_one_longer_than_the_file(server, get, target, begun):
    server.shift = 5
    with pytest.raises(ConnectionError, match="the server answers with another part than was asked for"):
        get()
    assert not target.exists()
    server.shift = 0
    target.with_name("val.npy.partial").write_bytes(BODY * 2)
    assert get() == DIGEST and target.read_bytes() == BODY


def test_a_missing_file_or_server_is_named(server, get, target):
    with pytest.raises(ConnectionError, match=rf"^{server.url}/none cannot be downloaded: the server answers 404 Not"):
        download(f"{server.url}/none", target)
    assert len(server.requests) == 1 and not target.exists()  # at once
    with pytest.raises(ConnectionError, match=r"^http://127\.0\.0\.1:9/x cannot be downloaded: Failed to .* refused"):
        download("http://127.0.0.1:9/x", target)


def test_a_changed_file_is_noticed_and_one_put_there_by_hand_taken(server, get, target):
    get()
    target.write_bytes(BODY[:-1] + b"x")
    with pytest.raises(ValueError, match=r"val\.npy is not what was downloaded: delete it and val\.npy\.json"):
        get()
    assert get(verify=False) == DIGEST
    target.with_name("val.npy.json").unlink()
    target.write_bytes(b"mine")
    assert get() == sha256(b"mine").hexdigest() and len(server.requests) == 1
    target.write_bytes(b"more")
    with pytest.raises(ValueError, match="is not what was downloaded"):
        get()
