import hashlib
import multiprocessing
import os
import time

import pytest

from hcexp.disk import checksum
from hcexp.disk.checksum import CHECKSUMS, file_checksum

A, B, ONE, TWO = (hashlib.sha256(content).hexdigest() for content in (b"a", b"b", b"one", b"two"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache that remembers files of any size and age."""
    monkeypatch.setattr(checksum, "LEAST", 0)
    monkeypatch.setattr(checksum, "FRESH", -(10**12))
    return tmp_path / "cache"


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """A file with a line for each time that any process hashes one."""

    def slowly(file, name):
        with (tmp_path / "hashed").open("a") as note:
            note.write(f"{file.name}\n")
        time.sleep(0.3 * (multiprocessing.parent_process() is not None))  # long enough for others to arrive
        return genuine(file, name)

    genuine = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", slowly)
    return lambda: (tmp_path / "hashed").read_text().count("\n")


def anew(path, cache) -> str:
    """As another process would."""
    for remembered in (checksum._hash, checksum._remembered, checksum._memory):
        remembered.cache_clear()
    return file_checksum(path, cache)


def test_a_file_is_hashed_once_until_it_changes(tmp_path, cache, hashed):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    assert {anew(path, cache) for _ in range(3)} == {ONE} and hashed() == 1
    times = path.stat()
    path.write_bytes(b"two")  # of the same size, and said to be as old
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_checksum(path, cache) == TWO
    (tmp_path / "b.bin").write_bytes(b"two")
    (tmp_path / "b.bin").replace(path)  # another file of that name
    assert anew(path, cache) == TWO and hashed() == 3


@pytest.mark.parametrize("name", ["FRESH", "LEAST"])
def test_what_was_just_written_or_is_small_is_not_remembered(tmp_path, cache, hashed, monkeypatch, name):
    monkeypatch.setattr(checksum, name, 10**12)
    (tmp_path / "a.bin").write_bytes(b"one")
    assert {anew(tmp_path / "a.bin", cache) for _ in range(2)} == {ONE}
    assert hashed() == 2 and not (cache / CHECKSUMS).exists()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"[1]\n{}\nnull\n[[1],2,3,4,5,6]\n", b"half", "cut"])
def test_a_damaged_memory_is_gone_on_with(tmp_path, cache, hashed, damage):
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
        file_checksum(tmp_path / name, cache)
    memory = cache / CHECKSUMS
    memory.write_bytes(memory.read_bytes()[:-9] if damage == "cut" else damage)
    for _ in range(2):
        assert [anew(tmp_path / name, cache) for name in "ab"] == [A, B]
    assert hashed() == (3 if damage == "cut" else 4)
    assert anew(tmp_path / "a", tmp_path / "b") == A  # a cache that cannot be written costs only time
    with pytest.raises(FileNotFoundError):
        file_checksum(tmp_path / "none", cache)


def test_processes_at_the_same_time_hash_it_once(tmp_path, cache, hashed):
    (tmp_path / "a").write_bytes(b"one")
    fork = multiprocessing.get_context("fork")
    found = fork.Queue()
    for _ in range(3):
        ask = lambda: found.put(file_checksum(tmp_path / "a", cache))  # noqa: E731
        fork.Process(target=ask, daemon=True).start()
    assert [found.get(timeout=20) for _ in range(3)] == [ONE] * 3 and hashed() == 1
