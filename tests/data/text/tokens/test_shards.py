import errno
import json
import os
import pickle

import numpy as np
import pytest

from hcexp.data.text.tokens import shards
from hcexp.data.text.tokens.shards import INDEX, ShardWriter, TokenStore
from hcexp.disk import checksum


def close(writer: ShardWriter) -> TokenStore:
    writer.close(documents=1, bytes=1, eos_id=0)
    return TokenStore(writer.folder)


@pytest.mark.parametrize("shard_tokens", [1, 7, 30, 1000])
def test_reading_across_shard_borders(tmp_path, shard_tokens):
    stream = np.random.default_rng(0).integers(0, 4096, 30)
    writer = ShardWriter(tmp_path / "store", 4096, shard_tokens)
    for part in np.split(stream, [3, 3, 20]):
        writer.append(part)
    store = close(writer)
    assert store.tokens == 30
    sizes = [shard["tokens"] for shard in json.loads((store.folder / INDEX).read_text())["shards"]]
    assert sizes == [min(shard_tokens, 30 - start) for start in range(0, 30, shard_tokens)]
    for start in range(31):
        for stop in range(start, 31):
            np.testing.assert_array_equal(store.read(start, stop), stream[start:stop])
    np.testing.assert_array_equal(store[-7:-1], stream[-7:-1])
    assert store.read(0, 3).dtype == np.int64
    for start, stop in [(-1, 2), (3, 2), (0, 31)]:
        with pytest.raises(IndexError, match="of a stream of 30"):
            store.read(start, stop)
    for key in (3, slice(0, 4, 2)):
        with pytest.raises(TypeError, match="slices of step 1"):
            store[key]


def test_the_largest_id_fits_and_the_checksum_is_of_the_tokens(tmp_path):
    stores = []
    for more, ids in ((0, [0, 65535, 1]), (1, [0, 65536, 1]), (0, [65535, 0, 1]), (0, [0, 65535, 1])):
        writer = ShardWriter(tmp_path / str(len(stores)), (1 << 16) + more)
        writer.append(np.array(ids))
        stores.append(close(writer))
        assert stores[-1][:].tolist() == ids
        assert (writer.folder / "tokens-00000.bin").stat().st_size == 3 * (4 if more else 2)
    assert len({store.checksum for store in stores}) == 3 and stores[0].checksum == stores[3].checksum


def test_a_damaged_shard_is_named_with_what_to_do(counting_store):
    folder = counting_store(20, shard_tokens=8).folder
    path = folder / "tokens-00001.bin"
    told = rf"shard {path} .*: delete {folder} and run `hcexp prepare` again$"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(ValueError, match=told):
        TokenStore(folder)
    assert TokenStore(folder, verify=False).tokens == 20
    for damage in (lambda: os.truncate(path, 15), lambda: os.truncate(path, 18), path.unlink):
        damage()
        for verify in (True, False):
            with pytest.raises(ValueError, match=told):
                TokenStore(folder, verify)


def test_a_verification_is_remembered_for_other_processes(counting_store, monkeypatch):
    monkeypatch.setattr(checksum, "LEAST", 0)
    monkeypatch.setattr(checksum, "FRESH", -(10**12))
    remembered = counting_store(20, shard_tokens=8).folder.parent / checksum.CHECKSUMS
    assert remembered.read_text().count("tokens-0000") == 3


def test_a_shard_that_is_cut_or_deleted_while_it_is_read_is_named_in_one_line(counting_store, monkeypatch):
    store = counting_store(1000, shard_tokens=400)
    np.testing.assert_array_equal(store[:], np.arange(1000))
    path = store.folder / "tokens-00001.bin"
    os.truncate(path, 300)
    assert store.read(400, 550).tolist() == list(range(400, 550))
    told = rf"^shard {path} cannot be read \(it ends at byte 300\): [^\n]*delete {store.folder}[^\n]*$"
    with pytest.raises(OSError, match=told):
        store.read(540, 560)
    (store.folder / "tokens-00002.bin").unlink()
    assert store.read(800, 810).tolist() == list(range(800, 810))  # it is open
    with pytest.raises(OSError, match=r"tokens-00002.bin cannot be read \(No such file"):
        pickle.loads(pickle.dumps(store)).read(800, 810)

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("hcexp.data.text.tokens.shard_file.os.pread", broken)
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
