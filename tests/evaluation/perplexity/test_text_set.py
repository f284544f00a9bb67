import json

import pytest

from hcexp.evaluation import TextSet

TEXTS = [f"document number {i} of some words 🙂" for i in range(3000)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n\n" * (i % 2) for i, text in enumerate(["", *TEXTS])))
    return path


@pytest.mark.parametrize("documents", [1, 1024, 1025, 9999, None])
def test_the_first_documents(texts, tokenizer, tmp_path, documents):
    """A batch of a source has at most 1024 documents; the empty ones do not count."""
    store = TextSet(texts).open(tokenizer, tmp_path / "cache", documents=documents)
    read = TEXTS[:documents]
    assert (store.documents, store.bytes) == (len(read), sum(len(text.encode()) for text in read))
    assert tokenizer.decode(store.read(0, store.tokens)) == tokenizer.eos.join(["", *read, ""])


def test_documents_and_tokens_bound_a_set_together(texts, tokenizer, tmp_path):
    sizes = [len(ids) + 1 for ids in tokenizer.encode(TEXTS[:3])]
    both = TextSet(texts).open(tokenizer, tmp_path / "cache", documents=3, max_tokens=sizes[0] + 4)
    assert (both.tokens, both.documents) == (sizes[0] + 4, 2)
    both = TextSet(texts).open(tokenizer, tmp_path / "cache", documents=3, max_tokens=10_000)
    assert (both.tokens, both.documents) == (1 + sum(sizes), 3)


def test_each_part_has_a_store_of_its_own(texts, tokenizer, tmp_path, capsys):
    folders = {TextSet(texts).open(tokenizer, tmp_path / "cache", documents=n).folder for n in (3, 1, 2, 2)}
    assert len(folders) == 3
    assert f"tokens of the first 2 documents of {texts}: 2 documents" in capsys.readouterr().err
