import multiprocessing
import os
import time

import numpy as np
import pytest

from hcexp.data import TextSource, TextTokenizer, fingerprint, prepare
from hcexp.data.pieces import pieces
from hcexp.data.shards import INDEX

DOCUMENTS = ["one document", "naïve — 中文 🙂", "<|endoftext|> is text", "the last\n\none"]


@pytest.fixture
def source(tmp_path) -> TextSource:
    folder = tmp_path / "files"
    folder.mkdir()
    for i, document in enumerate(DOCUMENTS):
        (folder / f"{i}.txt").write_text(document)
    return TextSource(folder)


@pytest.fixture
def stream(tokenizer) -> list[int]:
    """The layout, written out: EOS, document, EOS, document, EOS, …"""
    ids = [tokenizer.eos_id]
    for encoded in tokenizer.encode(DOCUMENTS):
        ids += encoded.tolist() + [tokenizer.eos_id]
    return ids


def test_the_stream_has_an_eos_first_and_after_each_document(source, tokenizer, tmp_path, stream):
    store = prepare(source, tokenizer, tmp_path / "cache", shard_tokens=5, progress=False)
    assert store[:].tolist() == stream
    assert (store.documents, store.eos_id, store.vocabulary_size) == (4, tokenizer.eos_id, 4096)
    assert store.bytes == sum(len(document.encode()) for document in DOCUMENTS)
    assert stream.count(tokenizer.eos_id) == 5  # none from the text that spells it


def test_the_text_comes_back(source, tokenizer, tmp_path):
    store = prepare(source, tokenizer, tmp_path / "cache", progress=False)
    borders = np.flatnonzero(store[:] == tokenizer.eos_id)
    texts = [tokenizer.decode(store.read(a + 1, b)) for a, b in zip(borders, borders[1:], strict=False)]
    assert texts == DOCUMENTS


def test_max_tokens_ends_the_stream_there_and_counts_the_bytes_kept(source, tokenizer, tmp_path, stream):
    for n in range(2, len(stream) + 3):
        store = prepare(source, tokenizer, tmp_path / "cache", max_tokens=n, progress=False)
        assert store[:].tolist() == stream[:n]
        text = [i for i in stream[:n] if i != tokenizer.eos_id]
        kept = sum(len(tokenizer.decode([i]).encode()) for i in text if "\ufffd" not in tokenizer.decode([i]))
        assert kept <= store.bytes <= sum(len(document.encode()) for document in DOCUMENTS)
        assert store.documents == sum(a == tokenizer.eos_id for a in stream[: n - 1][: len(stream) - 1])
    assert store.bytes == sum(len(document.encode()) for document in DOCUMENTS)


def test_a_long_document_is_encoded_in_pieces_and_stays_one(tmp_path, tokenizer, monkeypatch):
    text = "many words in one long document\n" * 40
    (tmp_path / "long.txt").write_text(text)
    monkeypatch.setattr(pieces, "__defaults__", (100,))
    store = prepare(TextSource(tmp_path / "long.txt"), tokenizer, tmp_path / "cache", progress=False)
    assert store.documents == 1
    assert store[:].tolist() == [0, *next(tokenizer.encode([text])).tolist(), 0]


def test_a_vocabulary_above_65536_is_kept_in_uint32(word_tokenizer, tmp_path):
    path = word_tokenizer({"<unk>": 0, "<eos>": 1, "far": 70_000})
    (tmp_path / "a.txt").write_text("far")
    store = prepare(TextSource(tmp_path / "a.txt"), TextTokenizer(path, "<eos>"), tmp_path / "c", progress=False)
    assert store[:].tolist() == [1, 70_000, 1]


def test_a_second_call_does_not_tokenise(source, tokenizer, tmp_path, monkeypatch):
    first = prepare(source, tokenizer, tmp_path / "cache", progress=False)

    def refuse(self, texts):
        raise AssertionError("tokenised again")

    monkeypatch.setattr(TextTokenizer, "encode", refuse)
    assert prepare(source, tokenizer, tmp_path / "cache", progress=False).checksum == first.checksum
    with pytest.raises(AssertionError):
        prepare(source, tokenizer, tmp_path / "cache", max_tokens=5, progress=False)


def test_the_fingerprint_changes_with_all_that_changes_the_stream(source, tokenizer, word_tokenizer, tmp_path):
    (tmp_path / "other.txt").write_text("other")
    words = word_tokenizer({"<unk>": 0, "<eos>": 1})
    prints = {
        fingerprint(source, tokenizer),
        fingerprint(source, tokenizer, 7),
        fingerprint(TextSource(tmp_path / "other.txt"), tokenizer),
        fingerprint(source, TextTokenizer(words, "<eos>")),
        fingerprint(source, TextTokenizer(words, "<unk>")),
    }
    assert len(prints) == 5
    assert fingerprint(source, tokenizer) in prints


def test_what_a_killed_process_left_is_replaced(source, tokenizer, tmp_path, stream):
    cache = tmp_path / "cache"
    folder = prepare(source, tokenizer, cache, progress=False).folder
    (folder / INDEX).unlink()
    folder.with_suffix(".unfinished").mkdir()
    (folder.with_suffix(".unfinished") / "tokens-00000.bin").write_bytes(b"half")
    assert prepare(source, tokenizer, cache, progress=False)[:].tolist() == stream
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".lock"]


def test_a_failure_leaves_no_store(source, tokenizer, tmp_path):
    (tmp_path / "files" / "9.txt").write_bytes(b"\xff")
    broken = TextSource(tmp_path / "files")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"9\.txt is not UTF-8"):
            prepare(broken, tokenizer, tmp_path / "cache", progress=False)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize("content", ["", None])
def test_an_empty_corpus(tmp_path, tokenizer, content):
    (tmp_path / "a.jsonl").write_text("" if content is None else '{"text": ""}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl: no text, 0 documents"):
        prepare(TextSource(tmp_path / "a.jsonl"), tokenizer, tmp_path / "cache", progress=False)


def test_max_tokens_of_none(source, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="max_tokens=0: allowed is at least 1"):
        prepare(source, tokenizer, tmp_path, max_tokens=0)


def test_the_progress_is_one_plain_line_without_a_terminal(source, tokenizer, tmp_path, capfd):
    prepare(source, tokenizer, tmp_path / "cache")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and "4 documents" in err and "MB/s" in err and "\x1b" not in err
    prepare(source, tokenizer, tmp_path / "cache")
    assert capfd.readouterr() == ("", "")


def prepare_slowly(source, tokenizer, folder, barrier, results):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a forked process has none of the tokenizer's threads
    documents = source.documents

    def recorded():
        with (folder / "read").open("a") as file:
            file.write("once ")
        time.sleep(0.2)  # long enough for the other process to arrive
        yield from documents()

    source.documents = recorded
    barrier.wait(timeout=20)
    results.put(prepare(source, tokenizer, folder / "cache", progress=False)[:].tolist())


def test_two_processes_make_one_store(source, tokenizer, tmp_path, stream):
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(2), fork.Queue()
    arguments = (source, tokenizer, tmp_path, barrier, results)
    both = [fork.Process(target=prepare_slowly, args=arguments, daemon=True) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=20) for _ in both] == [stream, stream]
    assert (tmp_path / "read").read_text() == "once "
