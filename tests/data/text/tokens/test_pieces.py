import pytest
from hcexp.data.text.tokens.pieces import pieces

from hcexp.data import TextSource, corpus


@pytest.mark.parametrize("domain", ["drama", "factbook", "novel"])
def test_cutting_does_not_change_the_tokens(tokenizer, domain):
    source = TextSource(corpus.VALIDATION / f"{domain}.parquet")
    document = next(source.documents())[0][:20000]
    whole = next(tokenizer.encode([document])).tolist()
    for length in (1, 10, 77, 5000):
        parts = list(pieces(document, length))
        assert "".join(parts) == document
        assert len(parts) > len(document) / length / 60
        assert all(len(part) >= length for part in parts[:-1])
        assert [i for ids in tokenizer.encode(parts) for i in ids.tolist()] == whole


def test_a_short_document_is_not_cut():
    assert list(pieces("a b c d", 7)) == ["a b c d"]
    assert list(pieces("")) == [""]


def test_text_without_a_place_to_cut_stays_whole():
    assert list(pieces("x" * 100, 10)) == ["x" * 100]
