import errno
import os
import pickle

import numpy as np
import pytest

from hcexp.data.text.tokens import shards


def read_all(store):
    return store.read(0, store.tokens)


def test_a_shard_that_is_cut_while_it_is_read_is_named_in_one_line(counting_store):
    store = counting_store(1000, shard_tokens=400)
    np.testing.assert_array_equal(store.read(0, 1000), np.arange(1000))
    path = store.folder / "tokens-00001.bin"
    os.truncate(path, 300)
    np.testing.assert_array_equal(store.read(400, 550), np.arange(400, 550))
    with pytest.raises(
        OSError, match=rf"^shard {path} cannot be read \(it ends at byte 300\): .*delete {store.folder}"
    ) as e:
        store.read(540, 560)
    assert "\n" not in str(e.value)


def test_one_that_is_deleted_is_read_to_the_end_if_it_was_open(counting_store):
    store = counting_store(1000, shard_tokens=400)
    store.read(0, 10)
    for name in ("tokens-00000.bin", "tokens-00001.bin"):
        (store.folder / name).unlink()
    np.testing.assert_array_equal(store.read(300, 400), np.arange(300, 400))
    with pytest.raises(OSError, match=r"tokens-00001.bin cannot be read \(No such file"):
        store.read(300, 401)


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
        np.testing.assert_array_equal(read_all(store), np.arange(100))
    assert len(os.listdir("/dev/fd")) == before + 3
    there = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(read_all(there), np.arange(100))
    del store, there
    assert len(os.listdir("/dev/fd")) == before
