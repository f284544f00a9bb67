import json

import numpy as np
import pytest

from hcexp.evaluation import TextSet, TokenFiles

TEXTS = ["One document.", "Another — with 🙂 and\n\nmore  of it.", "The third", "A last one of seven words only."]


@pytest.fixture
def make(tmp_path, tokenizer):
    """Writes texts as OLMo does: ids of uint16 without a header, EOS after each document."""

    def make(path="set/val.npy", texts=TEXTS, eos=tokenizer.eos_id, last=()):
        parts = [[*ids, eos] for ids in tokenizer.encode(texts)]
        file = tmp_path / "source" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        np.array([*sum(parts, []), *last], dtype="<u2").tofile(file)
        return file

    return make


@pytest.fixture
def opened(tmp_path, tokenizer):
    def opened(paths="set/val.npy", eos_ids=(tokenizer.eos_id, 4000), source=tmp_path / "source", **options):
        return TokenFiles(source, paths, eos_ids).open(tokenizer, tmp_path / "cache", **options)

    return opened


def tokens(store):
    return store.read(0, store.tokens).tolist()


def size(texts):
    return sum(len(text.encode()) for text in texts)


def test_the_stream_is_eos_and_the_file_as_it_is_and_that_of_the_same_text(make, opened, tokenizer, tmp_path):
    """So losses, perplexities and bits per byte are those of the text, whichever way it is given."""
    file = make()
    (tmp_path / "same.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    ours, theirs = opened(), TextSet(tmp_path / "same.jsonl").open(tokenizer, tmp_path / "cache")
    assert tokens(ours) == tokens(theirs) == [tokenizer.eos_id, *np.fromfile(file, "<u2")]
    assert (ours.documents, ours.bytes, ours.eos_id) == (theirs.documents, theirs.bytes, tokenizer.eos_id)
    assert (ours.documents, ours.bytes) == (4, size(TEXTS))
    for dtype in ("<u2", "<u4", ">u2"):  # a header says the file's own type
        ids = np.array(tokens(ours)[1:])
        np.save(file, ids.astype(dtype))
        assert tokens(opened()) == tokens(ours)


def test_the_first_documents_of_several_files_and_the_first_tokens(make, opened, tokenizer):
    ids = [tokenizer.eos_id, *np.fromfile(make(), "<u2")]
    for max_tokens in (2, 5, 6, 30):
        store = opened(max_tokens=max_tokens)
        assert tokens(store) == ids[:max_tokens]
        assert store.bytes == size([tokenizer.decode([i for i in ids[:max_tokens] if i != tokenizer.eos_id])])
    make("set/a.npy", TEXTS[:2])
    make("set/b.npy", TEXTS[2:])
    for documents in (1, 2, 3, 9, None):
        store = opened(["set/a.npy", "set/b.npy"], documents=documents)
        assert tokenizer.decode(tokens(store)) == tokenizer.eos.join(["", *TEXTS[:documents], ""])
        assert (store.documents, store.bytes) == (min(documents or 4, 4), size(TEXTS[:documents]))


def test_the_end_of_a_document_is_what_the_files_last_token_says(make, opened, tokenizer):
    file = make(eos=4000)
    store = opened()
    assert tokens(store) == [tokenizer.eos_id, *np.fromfile(file, "<u2")]
    assert (store.documents, store.bytes) == (4, size(TEXTS))
    assert opened(documents=2).documents == 2
    file = make(last=[17])
    assert tokens(opened()) == [tokenizer.eos_id, *np.fromfile(file, "<u2"), tokenizer.eos_id]
    with pytest.raises(ValueError, match=r"ends with the id 17, which is none of evaluation\.eos_ids=\[0, 4000\]"):
        opened(documents=2)


def test_a_file_that_is_no_token_file_or_of_another_tokenizer(make, opened, tmp_path):
    file = make(last=[4096, 0])
    with pytest.raises(ValueError, match=rf"{file} has the id 4096, and the tokenizer .* ends at 4095"):
        opened()
    for content, message in (
        (b"", "has 0 bytes: a file of uint16 ids has an even number"),
        (b"abc", "has 3 bytes"),
        (b"\x00\x00" * 9, "no text, 9 documents"),
        (b"\x93NUMPY broken", "is a damaged .npy file"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            opened()
    for array in (np.zeros(4), np.zeros((2, 2), "<u2"), np.zeros(0, "<u2"), np.array([None])):
        np.save(file, array, allow_pickle=True)
        with pytest.raises(ValueError, match="allowed are unsigned ids in one row|damaged"):
            opened()
    assert not list((tmp_path / "cache").glob("*/")), "what is unfinished is removed"


def test_a_store_is_made_once_and_a_changed_file_is_another_set(make, opened, tmp_path, monkeypatch):
    make()
    folder = opened().folder
    checksum = TokenFiles(tmp_path / "source", "set/val.npy", [0]).checksum
    with monkeypatch.context() as patched:
        patched.setattr(TokenFiles, "_write", None)
        assert opened().folder == folder
        with pytest.raises(TypeError):
            opened(documents=1)
    make(texts=TEXTS[:3])
    assert opened().folder != folder
    assert TokenFiles(tmp_path / "source", "set/val.npy", [0]).checksum != checksum


def test_an_address_whose_identity_needs_no_network(server, make, opened, tmp_path):
    file = make()
    (tmp_path / "source").rename(server.folder / "mirror")
    local = opened(source=server.folder / "mirror")
    published = opened(source=f"{server.url}/mirror/")
    assert published.folder == local.folder  # by content
    kept = tmp_path / "cache/downloads" / server.url[7:].replace(":", "_") / "mirror/set/val.npy"
    assert kept.read_bytes() == (server.folder / "mirror/set/val.npy").read_bytes() and not file.exists()
    opened(source=f"{server.url}/mirror", documents=1)
    assert len(server.requests) == 1
    with pytest.raises(ConnectionError, match=r"answers 404 .*; without a network, give evaluation\.source=… a folder"):
        opened(source=server.url)
    sources = "https://one.example", "http://two.example/mirror"
    checksums = [TokenFiles(source, path, [0]).checksum for source in sources for path in ("a/val.npy", "b/val.npy")]
    assert checksums[:2] == checksums[2:] and checksums[0] != checksums[1]


def test_sources_that_are_not_allowed():
    for source, paths, error, message in (
        ("s3://bucket", "a", ValueError, r"evaluation\.source='s3://bucket': allowed are a folder, https://…"),
        ("https://me:secret@host", "a", ValueError, r"evaluation\.source must not hold a user or password"),
        ("https://host", "../a", ValueError, r"evaluation\.sets: \.\./a is not below evaluation\.source"),
        ("https://host", "/a", ValueError, "is not below"),
        ("https://host", [], ValueError, "a set has no files"),
        ("nowhere", "a", FileNotFoundError, r"evaluation\.source='nowhere': there is no file nowhere/a"),
    ):
        with pytest.raises(error, match=message) as raised:
            TokenFiles(source, paths, [0])
        assert "secret" not in str(raised.value)
