import psutil
import pytest

from hcexp.data import Document, LocalSource, corpus
from hcexp.data.text.tokens import encode
from hcexp.data.text.tokens.chunks import split_document
from hcexp.data.text.tokens.encode import Chunk, Encoder

DOCUMENTS = [Document(f"<|endoftext|> {i} " + "of words " * (i % 7), (0, i + 1)) for i in range(60)]


def seen(found: list[Chunk]) -> list[tuple]:
    return [(text, ids.tolist(), end) for text, ids, end in found]


def test_other_processes_give_what_this_one_gives_until_one_is_killed(tokenizer, monkeypatch):
    monkeypatch.setattr(encode, "BATCH_CHUNKS", 4)
    monkeypatch.setattr(split_document, "__defaults__", (40,))
    with Encoder(tokenizer) as here, Encoder(tokenizer, workers=2) as there:
        expected = seen(here.encode(DOCUMENTS))
        assert seen(there.encode(DOCUMENTS)) == expected
        several = [there.encode(DOCUMENTS[i::3], share=1 / 3) for i in range(3)]  # in turn
        found = [next(one) for _ in range(10) for one in several]
        assert seen(found[::3]) == seen(here.encode(DOCUMENTS[0::3]))[:10]
        read = []
        next(there.encode(read.append(i) or document for i, document in enumerate(DOCUMENTS)))
        assert len(read) <= 4 * (2 + 2 * 2 + 1)  # no more is read ahead than said
        next(p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())).kill()
        with pytest.raises(ChildProcessError, match=r"^one of the data.workers=2 processes was killed[^\n]*$"):
            while True:  # until it is noticed
                list(there.encode(DOCUMENTS))
    ends = [end for _, _, end in expected]
    assert [end for end in ends if end] == [document.end for document in DOCUMENTS] and None in ends
    assert "".join(text for text, _, _ in expected) == "".join(document.text for document in DOCUMENTS)


@pytest.mark.parametrize("domain", ["drama", "factbook", "novel"])
def test_cutting_does_not_change_the_tokens(tokenizer, domain):
    document = next(LocalSource(corpus.VALIDATION / f"{domain}.parquet").read()).text[:20000]
    whole = next(tokenizer.encode([document])).tolist()
    for length in (1, 10, 77, 5000):
        parts = list(split_document(document, length))
        assert "".join(parts) == document
        assert len(parts) > len(document) / length / 60
        assert all(len(part) >= length for part in parts[:-1])
        assert [i for ids in tokenizer.encode(parts) for i in ids.tolist()] == whole
    for uncut, length in (("a b c d", 7), ("", 7), ("x" * 100, 10)):  # need not, or cannot be cut
        assert list(split_document(uncut, length)) == [uncut]
