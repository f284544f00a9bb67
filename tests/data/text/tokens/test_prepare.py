import errno
import json
import multiprocessing
import os
import time

import numpy as np
import pytest

from hcexp.data import LocalSource, Mixture, TextTokenizer, fingerprint, prepare
from hcexp.data.text.tokens import encode
from hcexp.data.text.tokens.chunks import split_document
from hcexp.data.text.tokens.journal import JOURNAL
from hcexp.data.text.tokens.shards import INDEX, ShardWriter

DOCUMENTS = ["one document", "naïve — 中文 🙂", "<|endoftext|> is text", "the last\n\none"]


@pytest.fixture
def source(tmp_path) -> LocalSource:
    folder = tmp_path / "files"
    folder.mkdir()
    for i, document in enumerate(DOCUMENTS):
        (folder / f"{i}.txt").write_text(document)
    return LocalSource(folder)


@pytest.fixture
def stream(tokenizer) -> list[int]:
    """The layout, written out: EOS, document, EOS, document, EOS, …"""
    ids = [tokenizer.eos_id]
    for encoded in tokenizer.encode(DOCUMENTS):
        ids += encoded.tolist() + [tokenizer.eos_id]
    return ids


@pytest.fixture
def make(source, tokenizer, tmp_path):
    """Prepares the source, or another, in `cache`, and says nothing."""

    def make(of=source, tokenizer=tokenizer, cache="cache", **knobs):
        return prepare(of, tokenizer, tmp_path / cache, **{"progress": False, **knobs})

    return make


def test_the_stream_has_an_eos_first_and_after_each_document(make, tokenizer, stream, monkeypatch, capfd):
    store = make(shard_tokens=5, progress=True)
    assert store[:].tolist() == stream
    assert (store.documents, store.eos_id, store.vocabulary_size) == (4, tokenizer.eos_id, 4096)
    assert store.bytes == sum(len(document.encode()) for document in DOCUMENTS)
    borders = np.flatnonzero(store[:] == tokenizer.eos_id)
    assert len(borders) == 5  # none from the text that spells it
    texts = [tokenizer.decode(store.read(a + 1, b)) for a, b in zip(borders, borders[1:], strict=False)]
    assert texts == DOCUMENTS
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and "4 documents" in err and "MB/s" in err and "\x1b" not in err
    monkeypatch.setattr(TextTokenizer, "encode", None)  # a second call does not tokenise
    assert make(shard_tokens=5, progress=True).checksum == store.checksum
    assert capfd.readouterr() == ("", "")


def test_max_tokens_ends_the_stream_there_and_counts_the_bytes_kept(make, tokenizer, stream):
    total = sum(len(document.encode()) for document in DOCUMENTS)
    for n in (2, 3, 5, 9, 17, len(stream) - 2, len(stream) - 1, len(stream), len(stream) + 2):
        store = make(max_tokens=n)
        assert store[:].tolist() == stream[:n]
        text = [i for i in stream[:n] if i != tokenizer.eos_id]
        kept = sum(len(tokenizer.decode([i]).encode()) for i in text if "\ufffd" not in tokenizer.decode([i]))
        assert kept <= store.bytes <= total
        assert store.documents == sum(a == tokenizer.eos_id for a in stream[: n - 1][: len(stream) - 1])
    assert store.bytes == total
    with pytest.raises(ValueError, match="max_tokens=0: allowed is at least 1"):
        make(max_tokens=0)


def test_a_long_document_is_encoded_in_chunks_and_stays_one(make, tmp_path, tokenizer, monkeypatch):
    text = "many words in one long document\n" * 40
    (tmp_path / "long.txt").write_text(text)
    monkeypatch.setattr(split_document, "__defaults__", (100,))
    store = make(LocalSource(tmp_path / "long.txt"))
    assert store.documents == 1
    assert store[:].tolist() == [0, *next(tokenizer.encode([text])).tolist(), 0]


def test_another_tokenizer_gives_another_stream_of_wider_ids(make, source, tokenizer, word_tokenizer, tmp_path):
    path = word_tokenizer({"<unk>": 0, "<eos>": 1, "far": 70_000})
    (tmp_path / "a.txt").write_text("far")
    far, words = LocalSource(tmp_path / "a.txt"), TextTokenizer(path, "<eos>")
    assert make(far, words)[:].tolist() == [1, 70_000, 1]
    others = [(source, tokenizer, 7), (far, tokenizer), (source, words), (source, TextTokenizer(path, "<unk>"))]
    assert len({fingerprint(*other) for other in [(source, tokenizer), *others]}) == 5


def test_the_number_of_processes_does_not_matter(make, source, monkeypatch):
    monkeypatch.setattr(encode, "BATCH_CHUNKS", 1)
    mixture = Mixture({"a": {"files": source.files[:2], "weight": 1}, "b": {"files": source.files[2:], "weight": 2}})
    here, there = (make(mixture, cache=str(n), max_tokens=20, workers=n) for n in (0, 2))
    assert here[:].tolist() == there[:].tolist()
    assert (here.folder / INDEX).read_text() == (there.folder / INDEX).read_text()


@pytest.fixture
def stop_after(monkeypatch):
    """Makes reading stop after so many documents; what was read until then is written, and noted in the journal."""
    monkeypatch.setattr(encode, "BATCH_CHUNKS", 1)
    read = LocalSource.read
    left = None

    def stopped(self, start=(0, 0)):
        nonlocal left
        for document in read(self, start):
            if left == 0:
                raise KeyboardInterrupt
            left = left and left - 1
            yield document

    monkeypatch.setattr(LocalSource, "read", stopped)

    def stop_after(documents: int | None) -> None:
        nonlocal left
        left = documents

    return stop_after


@pytest.mark.parametrize(("several", "step"), [(False, 1), (False, 2), (True, 2), (True, 5)])
def test_stopped_again_and_again(make, source, tmp_path, stop_after, step, several):
    if several:
        for name, length in {"a": 9, "b": 0, "c": 4}.items():
            lines = [f'{{"text": "{name} {i}{" x" * length}"}}' for i in range(7)]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        source = Mixture({name: {"files": tmp_path / f"{name}.jsonl", "weight": i} for i, name in enumerate("cab", 1)})
    whole = make(source, cache="whole", max_tokens=200, shard_tokens=7)
    stops = 0
    for _ in range(30):
        stop_after(step)
        try:
            store = make(source, max_tokens=200, shard_tokens=7, save_every=0)
            break
        except KeyboardInterrupt:
            stops += 1
        # What was written after the journal, and had no time to be noted in it.
        (folder,) = (tmp_path / "cache").glob("*.unfinished")
        last = max(folder.glob("*.bin"))
        last.write_bytes(last.read_bytes() + b"lost")
        (folder / "tokens-99999.bin").write_bytes(b"lost")
    assert stops >= (whole.documents - 1) // step
    assert store[:].tolist() == whole[:].tolist()
    assert (store.folder / INDEX).read_text() == (whole.folder / INDEX).read_text()
    assert sorted(path.name for path in store.folder.iterdir()) == sorted(path.name for path in whole.folder.iterdir())


@pytest.mark.parametrize(
    "damage", [None, "shorter shard", "no journal", "half a journal", "older journal", "other shards"]
)
def test_what_cannot_be_gone_on_with_is_begun_anew(make, tmp_path, stop_after, stream, damage, capfd):
    stop_after(3)
    with pytest.raises(KeyboardInterrupt):
        make(save_every=0, shard_tokens=5)
    (folder,) = (tmp_path / "cache").glob("*.unfinished")
    journal = folder / JOURNAL
    if damage == "shorter shard":
        (folder / "tokens-00000.bin").write_bytes(b"1")
    elif damage == "no journal":
        journal.unlink()
    elif damage == "half a journal":
        journal.write_text(journal.read_text()[:50])
    elif damage == "older journal":
        content = json.loads(journal.read_text())
        journal.write_text(json.dumps({**content, "taken": content.pop("progress")}))
    stop_after(None)
    store = make(shard_tokens=6 if damage == "other shards" else 5, progress=True)
    assert store[:].tolist() == stream
    first, *_, last = [None, *capfd.readouterr().err.splitlines()][-2:]
    assert "4 documents" in last and (damage is not None or first.endswith(": goes on after 0.0 MB"))


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
    store = make()
    for has_journal in (True, False):
        unfinished = store.folder.with_suffix(".unfinished")
        store.folder.rename(unfinished)
        if has_journal:
            (unfinished / JOURNAL).write_text("{}")
        assert make()[:].tolist() == stream
        assert sorted(path.name for path in store.folder.iterdir()) == [INDEX, "tokens-00000.bin"]


def test_a_full_disk_is_one_line_and_then_it_goes_on(make, tmp_path, monkeypatch, stream):
    monkeypatch.setattr(encode, "BATCH_CHUNKS", 1)
    append = ShardWriter.append

    def full(self, ids):
        if self.tokens > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, ids)

    monkeypatch.setattr(ShardWriter, "append", full)
    cache = tmp_path / "cache"
    with pytest.raises(OSError, match=f"^there is no room left for tokens in {cache}: make room, and .* goes on$"):
        make(save_every=0)
    assert list(cache.glob(f"*.unfinished/{JOURNAL}"))
    monkeypatch.undo()
    folder = make().folder
    (folder / INDEX).unlink()  # what somebody deleted, or a killed process left, is made anew
    folder.with_suffix(".unfinished").mkdir()
    (folder.with_suffix(".unfinished") / "tokens-00000.bin").write_bytes(b"half")
    assert make()[:].tolist() == stream
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".lock"]


def test_a_failure_leaves_no_store(make, tmp_path):
    (tmp_path / "files" / "9.txt").write_bytes(b"\xff")
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text('{"text": ""}\n')
    broken = {"files": r"9\.txt is not UTF-8", "a.jsonl": r"a\.jsonl: no text, 0 documents",
              "b.jsonl": r"b\.jsonl: no text, 0 documents"}  # fmt: skip
    for name, message in [*broken.items(), *broken.items()]:
        with pytest.raises(ValueError, match=message):
            make(LocalSource(tmp_path / name))
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".lock"}


def prepare_slowly(source, tokenizer, folder, barrier, results):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a forked process has none of the tokenizer's threads
    read = source.read

    def recorded(start):
        with (folder / "read").open("a") as file:
            file.write("once ")
        time.sleep(0.5)  # long enough for the other process to arrive
        yield from read(start)

    source.read = recorded
    barrier.wait(timeout=20)
    results.put(prepare(source, tokenizer, folder / "cache")[:].tolist())


def test_two_processes_make_one_store(source, tokenizer, tmp_path, stream, capfd):
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(2), fork.Queue()
    arguments = (source, tokenizer, tmp_path, barrier, results)
    both = [fork.Process(target=prepare_slowly, args=arguments, daemon=True) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=20) for _ in both] == [stream, stream]
    assert (tmp_path / "read").read_text() == "once "
    waiting, made = sorted(capfd.readouterr().err.splitlines(), key=lambda line: "waiting" not in line)
    assert waiting.endswith("another process is at them, waiting for it") and "4 documents" in made
