import json

from hcexp.evaluation import TextSet

TEXTS = [f"document number {i} of some words 🙂" for i in range(1030)]


def test_the_first_documents_and_tokens_have_a_store_of_their_own(tokenizer, tmp_path, capsys):
    """A batch of a source has at most 1024 documents; the empty ones do not count."""
    path, folders = tmp_path / "texts.jsonl", set()
    path.write_text("".join(json.dumps({"text": text}) + "\n\n" * (i % 2) for i, text in enumerate(["", *TEXTS])))
    for documents in (1, 1024, 1025, 9999, None, 1):
        store = TextSet(path).open(tokenizer, tmp_path / "cache", documents=documents)
        read = TEXTS[:documents]
        assert (store.documents, store.bytes) == (len(read), sum(len(text.encode()) for text in read))
        assert tokenizer.decode(store.read(0, store.tokens)) == tokenizer.eos.join(["", *read, ""])
        folders.add(store.folder)
    assert len(folders) == 5
    assert f"tokens of the first 1025 documents of {path}: 1,025 documents" in capsys.readouterr().err

    sizes = [len(ids) + 1 for ids in tokenizer.encode(TEXTS[:3])]
    for max_tokens, bounds in ((sizes[0] + 4, (sizes[0] + 4, 2)), (10_000, (1 + sum(sizes), 3))):
        both = TextSet(path).open(tokenizer, tmp_path / "cache", documents=3, max_tokens=max_tokens)
        assert (both.tokens, both.documents) == bounds
