import errno
import json
import os
import pickle

import numpy as np
import pytest

from hcexp.data.text.tokens import shards
from hcexp.data.text.tokens.shards import INDEX, ShardWriter, TokenStore
from hcexp.disk import checksum


def write(folder, ids, vocabulary_size=4096, shard_tokens=100):
    writer = ShardWriter(folder, vocabulary_size, shard_tokens)
    writer.append(np.array(ids))
    writer.close(documents=1, bytes=1, eos_id=0)
    return TokenStore(folder)


@pytest.mark.parametrize("shard_tokens", [1, 7, 30, 1000])
def test_reading_across_shard_borders(tmp_path, shard_tokens):
    stream = np.random.default_rng(0).integers(0, 4096, 30)
    writer = ShardWriter(tmp_path / "store", 4096, shard_tokens)
    for part in np.split(stream, [3, 3, 20]):
        writer.append(part)
    writer.close(documents=1, bytes=30, eos_id=0)
    store = TokenStore(tmp_path / "store")
    assert len(store) == store.tokens == 30
    assert [shard["tokens"] for shard in json.loads((store.folder / INDEX).read_text())["shards"]] == [
        min(shard_tokens, 30 - start) for start in range(0, 30, shard_tokens)
    ]
    for start in range(31):
        for stop in range(start, 31):
            np.testing.assert_array_equal(store.read(start, stop), stream[start:stop])
    np.testing.assert_array_equal(store[:], stream)
    np.testing.assert_array_equal(store[-7:-1], stream[-7:-1])
    assert store.read(0, 3).dtype == np.int64
    for start, stop in [(-1, 2), (3, 2), (0, 31), (31, 31)]:
        with pytest.raises(IndexError, match="of a stream of 30"):
            store.read(start, stop)
    for key in (3, slice(0, 4, 2), slice(None, None, -1)):
        with pytest.raises(TypeError, match="slices of step 1"):
            store[key]


def test_the_largest_id_fits(tmp_path):
    for vocabulary_size, size in ((1 << 16, 2), ((1 << 16) + 1, 4)):
        ids = [0, vocabulary_size - 1, 1]
        store = write(tmp_path / str(size), ids, vocabulary_size)
        assert store[:].tolist() == ids
        assert (store.folder / "tokens-00000.bin").stat().st_size == 3 * size


def test_the_checksum_is_of_the_tokens(tmp_path):
    one, same, other = (write(tmp_path / name, ids).checksum for name, ids in [("a", [1, 2]), ("b", [1, 2]),
                                                                               ("c", [2, 1])])  # fmt: skip
    assert one == same != other


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "changed":
        data[3] ^= 1
        path.write_bytes(data)
    elif how == "deleted":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "truncated" else data + b"\0\0")


@pytest.mark.parametrize("how", ["changed", "truncated", "longer", "deleted"])
def test_a_damaged_shard_is_named_with_what_to_do(counting_store, how):
    folder = counting_store(20, shard_tokens=8).folder
    damage(folder / "tokens-00001.bin", how)
    for verify in (True, False):
        if how == "changed" and not verify:  # what the knob leaves out
            assert TokenStore(folder, verify=False).tokens == 20
            continue
        with pytest.raises(ValueError, match=r"tokens-00001\.bin .*: delete .* and run `hcexp prepare` again$") as e:
            TokenStore(folder, verify)
        assert str(folder) in str(e.value)


def test_a_verification_is_remembered_until_a_shard_changes(counting_store, monkeypatch):
    monkeypatch.setattr(checksum, "LEAST", 0)
    monkeypatch.setattr(checksum, "FRESH", -(10**12))
    folder = counting_store(20, shard_tokens=8).folder
    hashed, genuine = [], checksum._hash
    monkeypatch.setattr(checksum, "_hash", lambda state: hashed.append(state[0]) or genuine(state))

    def verify():
        for remembered in (genuine, checksum._remembered, checksum._memory):
            remembered.cache_clear()
        TokenStore(folder)

    verify()
    assert not hashed  # that was done when it was made
    damage(folder / "tokens-00001.bin", "changed")
    with pytest.raises(ValueError, match=r"tokens-00001\.bin does not have the checksum"):
        verify()
    assert hashed == [str(folder / "tokens-00001.bin")]


def test_a_folder_without_index_holds_no_tokens(tmp_path):
    ShardWriter(tmp_path / "store", 100).append(np.arange(5))  # and never closed
    with pytest.raises(FileNotFoundError, match="holds no tokens"):
        TokenStore(tmp_path / "store")
    with pytest.raises(ValueError, match="shard_tokens=0: allowed is at least 1"):
        ShardWriter(tmp_path / "other", 100, shard_tokens=0)


@pytest.mark.parametrize("shard_tokens", [4, 7, 100])
def test_another_writer_goes_on_from_what_was_flushed(tmp_path, shard_tokens):
    def close(writer):
        writer.close(documents=1, bytes=1, eos_id=0)
        return (writer.folder / INDEX).read_text(), [path.read_bytes() for path in sorted(writer.folder.glob("*.bin"))]

    whole = ShardWriter(tmp_path / "whole", 100, shard_tokens)
    whole.append(np.arange(30))
    whole = close(whole)
    for written in (0, 3, 7, 8, 14, 20):
        folder = tmp_path / str(written)
        first = ShardWriter(folder, 100, shard_tokens)
        first.append(np.arange(written))
        flushed = first.flush()
        first.append(np.arange(50, 60))  # and killed
        first._file and first._file.flush()
        second = ShardWriter(folder, 100, shard_tokens, json.loads(json.dumps(flushed)))
        assert second.tokens == written
        second.append(np.arange(written, 30))
        assert close(second) == whole


def test_shards_that_were_lost_cannot_be_gone_on_with(tmp_path):
    first = ShardWriter(tmp_path / "store", 100, 8)
    first.append(np.arange(12))
    flushed = first.flush()
    for shard, how, size in ((1, "truncated", 8), (0, "deleted", 16)):
        damage(tmp_path / "store" / f"tokens-0000{shard}.bin", how)
        with pytest.raises(ValueError, match=f"tokens-0000{shard}.bin is shorter than the {size} bytes"):
            ShardWriter(tmp_path / "store", 100, 8, flushed)


def test_a_shard_that_is_cut_or_deleted_while_it_is_read_is_named_in_one_line(counting_store):
    store = counting_store(1000, shard_tokens=400)
    np.testing.assert_array_equal(store.read(0, 1000), np.arange(1000))
    path = store.folder / "tokens-00001.bin"
    os.truncate(path, 300)
    np.testing.assert_array_equal(store.read(400, 550), np.arange(400, 550))
    told = rf"^shard {path} cannot be read \(it ends at byte 300\): [^\n]*delete {store.folder}[^\n]*$"
    with pytest.raises(OSError, match=told):
        store.read(540, 560)
    (store.folder / "tokens-00002.bin").unlink()
    assert store.read(800, 810).tolist() == list(range(800, 810))  # it is open
    with pytest.raises(OSError, match=r"tokens-00002.bin cannot be read \(No such file"):
        pickle.loads(pickle.dumps(store)).read(800, 810)


@pytest.mark.parametrize("call", ["open", "pread"])
def test_whatever_the_system_says_is_said(counting_store, monkeypatch, call):
    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    store = counting_store(100, shard_tokens=50)
    monkeypatch.setattr(f"hcexp.data.text.tokens.shard_file.os.{call}", broken)
    with pytest.raises(OSError, match=r"tokens-00000.bin cannot be read \(Input/output error\)"):
        store.read(0, 3)


def test_no_more_files_are_open_than_the_system_allows(counting_store, monkeypatch):
    monkeypatch.setattr(shards, "MOST_OPEN", 3)
    store = counting_store(100, shard_tokens=10)
    before = len(os.listdir("/dev/fd"))
    for _ in range(2):
        np.testing.assert_array_equal(store[:], np.arange(100))
    assert len(os.listdir("/dev/fd")) == before + 3
    pickled = pickle.dumps(store)
    assert len(pickled) < 5000
    there = pickle.loads(pickled)
    np.testing.assert_array_equal(there[:], np.arange(100))
    del store, there
    assert len(os.listdir("/dev/fd")) == before
