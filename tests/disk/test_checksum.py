import hashlib
import multiprocessing
import os
import time

import pytest

from hcexp.disk import checksum
from hcexp.disk.checksum import CHECKSUMS, file_checksum


@pytest.fixture
def hashed(monkeypatch):
    """The files that are hashed, of whatever size; `forget()` makes this another process."""
    monkeypatch.setattr(checksum, "LEAST", 0)
    files, genuine = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: files.append(file.name) or genuine(file, name))
    return files


def forget():
    for remembered in (checksum._hash, checksum._remembered, checksum._memory):
        remembered.cache_clear()


@pytest.fixture
def settled(monkeypatch):
    """Files count as written long ago."""
    monkeypatch.setattr(checksum, "FRESH", -(10**12))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_hashed_once_until_it_changes(tmp_path, hashed, settled):
    path, cache = tmp_path / "a.bin", tmp_path / "cache"
    path.write_bytes(b"one")
    for _ in range(3):
        assert file_checksum(path, cache) == sha256(b"one")
        forget()
    assert len(hashed) == 1
    times = path.stat()
    path.write_bytes(b"two")  # of the same size, and said to be as old
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_checksum(path, cache) == sha256(b"two")
    (tmp_path / "b.bin").write_bytes(b"two")
    (tmp_path / "b.bin").replace(path)  # another file of that name
    forget()
    assert file_checksum(path, cache) == sha256(b"two")
    assert len(hashed) == 3


def test_what_was_just_written_may_be_written_again(tmp_path, hashed):
    path, cache = tmp_path / "a.bin", tmp_path / "cache"
    path.write_bytes(b"one")
    for _ in range(2):
        assert file_checksum(path, cache) == sha256(b"one")
        forget()
    assert len(hashed) == 2 and not (cache / CHECKSUMS).exists()


def test_small_files_are_not_remembered(tmp_path, settled):
    (tmp_path / "a.bin").write_bytes(b"one")
    assert file_checksum(tmp_path / "a.bin", tmp_path / "cache") == sha256(b"one")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"[1]\n{}\nnull\n[[1],2,3,4,5,6]\n", b"half", "cut"])
def test_a_damaged_memory_is_gone_on_with(tmp_path, hashed, settled, damage):
    cache = tmp_path / "cache"
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
        file_checksum(tmp_path / name, cache)
    memory = cache / CHECKSUMS
    memory.write_bytes(memory.read_bytes()[:-9] if damage == "cut" else damage)
    for _ in range(2):
        forget()
        for name in "ab":
            assert file_checksum(tmp_path / name, cache) == sha256(name.encode())
    assert len(hashed) == (3 if damage == "cut" else 4)


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, hashed, settled):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "cache").write_text("no folder")
    assert file_checksum(tmp_path / "a", tmp_path / "cache") == sha256(b"one")
    with pytest.raises(FileNotFoundError):
        file_checksum(tmp_path / "none", tmp_path / "cache")


def test_processes_at_the_same_time_hash_it_once(tmp_path, hashed, settled, monkeypatch):
    def slowly(file, name):
        with (tmp_path / "hashed").open("a") as note:
            note.write("once ")
        time.sleep(0.3)  # long enough for the others to arrive
        return digest(file, name)

    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", slowly)
    (tmp_path / "a").write_bytes(b"one")
    fork = multiprocessing.get_context("fork")
    found = fork.Queue()
    for _ in range(3):
        ask = lambda: found.put(file_checksum(tmp_path / "a", tmp_path / "cache"))  # noqa: E731
        fork.Process(target=ask, daemon=True).start()
    assert [found.get(timeout=20) for _ in range(3)] == [sha256(b"one")] * 3
    assert (tmp_path / "hashed").read_text() == "once "
