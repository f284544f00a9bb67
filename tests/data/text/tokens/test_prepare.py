import errno
import json
import os
from pathlib import Path

import pytest

from hcexp.data import LocalSource, TextTokenizer, prepare
from hcexp.data.text.tokens import encode
from hcexp.data.text.tokens.chunks import split_document
from hcexp.data.text.tokens.journal import JOURNAL
from hcexp.data.text.tokens.shards import INDEX, ShardWriter

DOCUMENTS = ["one document", "naïve — 中文 🙂", "<|endoftext|> is text", "the last\n\none"]


@pytest.fixture
def source(tmp_path) -> LocalSource:
    (tmp_path / "source.jsonl").write_text("".join(json.dumps({"text": document}) + "\n" for document in DOCUMENTS))
    return LocalSource(tmp_path / "source.jsonl")


@pytest.fixture
def stream(tokenizer) -> list[int]:
    """The layout, written out: EOS, document, EOS, document, EOS, …"""
    eos = tokenizer.eos_id
    return [eos, *(i for ids in tokenizer.encode(DOCUMENTS) for i in (*ids.tolist(), eos))]


@pytest.fixture
def make(source, tokenizer, tmp_path):
    """Prepares the source, or another, in `cache`, and says nothing."""

    def make(of=source, tokenizer=tokenizer, cache="cache", **knobs):
        return prepare(of, tokenizer, tmp_path / cache, **{"progress": False, **knobs})

    return make


@pytest.fixture
def small_parts(monkeypatch):
    """Even short documents are encoded in parts, of which each is a batch."""
    monkeypatch.setattr(encode, "BATCH_CHUNKS", 1)
    monkeypatch.setattr(split_document, "__defaults__", (2,))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_stream_has_an_eos_first_and_after_each_document(make, tokenizer, stream, small_parts, monkeypatch, capfd):
    store = make(shard_tokens=5, progress=True)
    assert store[:].tolist() == stream and stream.count(tokenizer.eos_id) == 5  # none from the text that spells it
    assert (store.documents, store.eos_id, store.vocabulary_size) == (4, tokenizer.eos_id, 4096)
    assert store.bytes == sum(len(document.encode()) for document in DOCUMENTS)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and "4 documents" in err and "MB/s" in err and "\x1b" not in err
    monkeypatch.setattr(TextTokenizer, "encode", None)  # a second call does not tokenise
    assert make(shard_tokens=5, progress=True).checksum == store.checksum
    assert capfd.readouterr() == ("", "")


def test_max_tokens_ends_the_stream_there_and_counts_the_bytes_kept(make, tokenizer, stream):
    total = sum(len(document.encode()) for document in DOCUMENTS)
    for n in (2, 5, 9, len(stream) - 2, len(stream) - 1, len(stream), len(stream) + 2):
        store = make(max_tokens=n)
        assert store[:].tolist() == stream[:n]
        pieces = [tokenizer.decode([i]) for i in stream[:n] if i != tokenizer.eos_id]
        assert sum(len(piece.encode()) for piece in pieces if "\ufffd" not in piece) <= store.bytes
        assert store.bytes < total or n >= len(stream) - 1
        assert store.documents == stream[: min(n, len(stream)) - 1].count(tokenizer.eos_id)
    assert store.bytes == total
    for knob in ("max_tokens", "shard_tokens"):
        with pytest.raises(ValueError, match=f"{knob}=0: allowed is at least 1"):
            make(**{knob: 0})


@pytest.fixture
def stop_after(monkeypatch, small_parts):
    """Makes reading stop after so many documents; what was read until then is written, and noted in the journal."""
    read = LocalSource.read

    def stop_after(documents: int) -> None:
        left = iter(range(documents))

        def stopped(self, start=(0, 0)):
            for document in read(self, start):
                if next(left, None) is None:
                    raise KeyboardInterrupt
                yield document

        monkeypatch.setattr(LocalSource, "read", stopped)

    return stop_after


@pytest.mark.parametrize("step", [1, 2, 5])
def test_stopped_again_and_again(make, mixture, tmp_path, stop_after, step):
    knobs = {"of": mixture(b=1, a=3, c=2), "max_tokens": 300, "shard_tokens": 7}
    whole = make(**knobs, cache="whole")
    stops, store = 0, None
    while store is None and stops < 30:
        stop_after(step)
        try:
            store = make(**knobs, save_every=0)
        except KeyboardInterrupt:
            stops += 1
            # What was written after the journal, and had no time to be noted in it.
            (folder,) = (tmp_path / "cache").glob("*.unfinished")
            with max(folder.glob("*.bin")).open("ab") as file:
                file.write(b"lost")
            (folder / "tokens-99999.bin").write_bytes(b"lost")
    assert stops >= (whole.documents - 1) // step > 0
    assert contents(store.folder) == contents(whole.folder)


@pytest.mark.parametrize(
    "damage",
    [
        Path.stat,  # none
        Path.unlink,
        lambda journal: os.truncate(journal, 50),
        lambda journal: os.truncate(journal.with_name("tokens-00000.bin"), 1),
        lambda journal: journal.write_text(journal.read_text().replace('"progress"', '"taken"')),  # an older layout
        lambda journal: journal.write_text(journal.read_text().replace('"shard_tokens": 5', '"shard_tokens": 6')),
    ],
)
def test_what_cannot_be_gone_on_with_is_begun_anew(make, tmp_path, stop_after, stream, damage, capfd):
    stop_after(3)
    with pytest.raises(KeyboardInterrupt):
        make(save_every=0, shard_tokens=5)
    (journal,) = (tmp_path / "cache").glob(f"*.unfinished/{JOURNAL}")
    damage(journal)
    stop_after(99)
    assert make(shard_tokens=5, progress=True)[:].tolist() == stream
    *first, last = capfd.readouterr().err.splitlines()
    assert "4 documents" in last
    assert [line.endswith(": goes on after 0.0 MB") for line in first] == [True] * (damage is Path.stat)


def test_killed_or_stopped_when_only_the_name_was_missing(make, stream, monkeypatch):
    def stopped(old, new):
        if os.path.isdir(old):
            raise KeyboardInterrupt
        replace(old, new)

    replace = os.replace
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stopped)
        make()
    monkeypatch.setattr(TextTokenizer, "encode", None)  # it is not asked
    unfinished = make().folder.with_suffix(".unfinished")
    make().folder.rename(unfinished)
    for journal in (JOURNAL, f"{JOURNAL}.partial"):
        (unfinished / journal).write_text("{}")
    store = make()
    assert store[:].tolist() == stream
    assert contents(store.folder).keys() == {INDEX, "tokens-00000.bin"}


def test_a_full_disk_is_one_line_and_then_it_goes_on(make, tmp_path, monkeypatch, small_parts, stream):
    def append(self, ids):
        if self.tokens > room["tokens"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(self, ids)

    cache, genuine, room = tmp_path / "cache", ShardWriter.append, {}
    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "append", append)
        told = f"^there is no room left for tokens in {cache}: make room, and the same command goes on$"
        for room["tokens"] in range(2, len(stream) - 1):  # even in the middle of a document
            with pytest.raises(OSError, match=told):
                make(save_every=0)
    assert list(cache.glob(f"*.unfinished/{JOURNAL}"))
    store = make()
    assert store[:].tolist() == stream
    folder = store.folder
    (folder / INDEX).unlink()  # what somebody deleted, or a killed process left, is made anew
    folder.with_suffix(".unfinished").mkdir()
    (folder.with_suffix(".unfinished") / "tokens-00000.bin").write_bytes(b"half")
    assert make()[:].tolist() == stream
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".lock"]


def test_a_failure_leaves_no_store(make, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n')
    for name, message in [("a.txt", r"a\.txt is not UTF-8"), ("a.jsonl", r"a\.jsonl: no text, 0 documents")] * 2:
        with pytest.raises(ValueError, match=message):
            make(LocalSource(tmp_path / name))
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".lock"}


def test_two_processes_make_one_store(make, stream, at_once, capfd):
    assert at_once(lambda: make(progress=True)[:].tolist(), 2, LocalSource, "read") == ([stream, stream], 1)
    waiting, made = sorted(capfd.readouterr().err.splitlines(), key=lambda line: "waiting" not in line)
    assert waiting.endswith("another process is at them, waiting for it") and "4 documents" in made
