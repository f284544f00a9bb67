import json
import pickle

import numpy as np
import pytest

from hcexp.data.text.tokens.shards import INDEX, ShardWriter, TokenStore, write_json


@pytest.mark.parametrize("shard_tokens", [1, 7, 50, 1000])
def test_reading_across_shard_borders(tmp_path, shard_tokens):
    stream = np.random.default_rng(0).integers(0, 4096, 50)
    writer = ShardWriter(tmp_path / "store", 4096, shard_tokens)
    for part in np.split(stream, [3, 3, 20, 41]):
        writer.append(part)
    writer.close(documents=1, bytes=50, eos_id=0)
    store = TokenStore(tmp_path / "store")
    assert len(store) == store.tokens == 50
    assert len(list(store.folder.glob("*.bin"))) == -(-50 // shard_tokens)
    for start in range(51):
        for stop in range(start, 51):
            np.testing.assert_array_equal(store.read(start, stop), stream[start:stop])
    np.testing.assert_array_equal(store[:], stream)
    np.testing.assert_array_equal(store[-7:-1], stream[-7:-1])
    assert store.read(0, 3).dtype == np.int64


@pytest.mark.parametrize(("vocabulary_size", "size"), [(1 << 16, 2), ((1 << 16) + 1, 4)])
def test_the_largest_id_fits(tmp_path, vocabulary_size, size):
    ids = np.array([0, vocabulary_size - 1, 1])
    writer = ShardWriter(tmp_path / "store", vocabulary_size)
    writer.append(ids)
    writer.close(documents=1, bytes=1, eos_id=0)
    store = TokenStore(tmp_path / "store")
    np.testing.assert_array_equal(store.read(0, 3), ids)
    assert (store.folder / "tokens-00000.bin").stat().st_size == 3 * size


def test_the_checksum_is_of_the_tokens(tmp_path):
    def store(name, ids):
        writer = ShardWriter(tmp_path / name, 100)
        writer.append(np.array(ids))
        writer.close(documents=1, bytes=1, eos_id=0)
        return TokenStore(tmp_path / name).checksum

    assert store("a", [1, 2]) == store("b", [1, 2]) != store("c", [2, 1])


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 11), (11, 11)])
def test_reading_beyond_the_stream(counting_store, start, stop):
    with pytest.raises(IndexError, match="of a stream of 10"):
        counting_store(10).read(start, stop)


@pytest.mark.parametrize("key", [3, slice(0, 4, 2), slice(None, None, -1)])
def test_only_plain_slices(counting_store, key):
    with pytest.raises(TypeError, match="slices of step 1"):
        counting_store(10)[key]


def test_a_pickled_store_holds_no_tokens(counting_store):
    store = counting_store(40000, shard_tokens=10000)
    store.read(0, 10)
    pickled = pickle.dumps(store)
    assert len(pickled) < 5000
    np.testing.assert_array_equal(pickle.loads(pickled).read(9990, 10010), np.arange(9990, 10010))


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "changed":
        data[3] ^= 1
        path.write_bytes(data)
    elif how == "truncated":
        path.write_bytes(data[:-1])
    elif how == "longer":
        path.write_bytes(data + b"\0\0")
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["changed", "truncated", "longer", "deleted"])
@pytest.mark.parametrize("verify", [True, False])
def test_a_damaged_shard_is_named_with_what_to_do(counting_store, how, verify):
    folder = counting_store(20, shard_tokens=8).folder
    damage(folder / "tokens-00001.bin", how)
    if how == "changed" and not verify:  # what the knob leaves out
        assert TokenStore(folder, verify=False).tokens == 20
        return
    with pytest.raises(ValueError, match=r"tokens-00001\.bin .*: delete .* and run `hcexp prepare` again$") as error:
        TokenStore(folder, verify)
    assert str(folder) in str(error.value)


def test_a_folder_without_index_holds_no_tokens(tmp_path):
    writer = ShardWriter(tmp_path / "store", 100)
    writer.append(np.arange(5))  # and never closed
    with pytest.raises(FileNotFoundError, match="holds no tokens"):
        TokenStore(tmp_path / "store")


def test_the_index_tells_what_is_inside(counting_store):
    index = json.loads((counting_store(20, shard_tokens=8).folder / INDEX).read_text())
    assert [shard["tokens"] for shard in index["shards"]] == [8, 8, 4]
    assert index["tokens"] == 20


def test_shards_of_no_token(tmp_path):
    with pytest.raises(ValueError, match="shard_tokens=0: allowed is at least 1"):
        ShardWriter(tmp_path / "store", 100, shard_tokens=0)


@pytest.mark.parametrize("shard_tokens", [4, 7, 100])
@pytest.mark.parametrize("written", [0, 3, 7, 8, 14, 20])
def test_another_writer_goes_on_from_what_was_flushed(tmp_path, shard_tokens, written):
    def close(writer):
        writer.close(documents=1, bytes=1, eos_id=0)
        return (writer.folder / INDEX).read_text(), [path.read_bytes() for path in sorted(writer.folder.glob("*.bin"))]

    whole = ShardWriter(tmp_path / "whole", 100, shard_tokens)
    whole.append(np.arange(30))
    first = ShardWriter(tmp_path / "store", 100, shard_tokens)
    first.append(np.arange(written))
    shards = first.flush()
    first.append(np.arange(50, 60))  # and killed
    first._file and first._file.flush()
    second = ShardWriter(tmp_path / "store", 100, shard_tokens, json.loads(json.dumps(shards)))
    assert second.tokens == written
    second.append(np.arange(written, 30))
    assert close(second) == close(whole)


def test_shards_that_were_lost_cannot_be_gone_on_with(tmp_path):
    first = ShardWriter(tmp_path / "store", 100, 8)
    first.append(np.arange(12))
    shards = first.flush()
    damage(tmp_path / "store" / "tokens-00001.bin", "truncated")
    with pytest.raises(ValueError, match="tokens-00001.bin is shorter than the 8 bytes"):
        ShardWriter(tmp_path / "store", 100, 8, shards)
    damage(tmp_path / "store" / "tokens-00000.bin", "deleted")
    with pytest.raises(ValueError, match="tokens-00000.bin is shorter than the 16 bytes"):
        ShardWriter(tmp_path / "store", 100, 8, shards)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
