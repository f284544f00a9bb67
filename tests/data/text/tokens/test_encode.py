import pickle

import psutil
import pytest
from hcexp.data.text.tokens.pieces import pieces

from hcexp.data import TextTokenizer
from hcexp.data.text.source import Document
from hcexp.data.text.tokens import encode
from hcexp.data.text.tokens.encode import Encoder, Piece

DOCUMENTS = [Document(f"document {i} " + "of words " * (i % 7), (0, i + 1)) for i in range(60)]


def seen(found: list[Piece]) -> list[tuple]:
    return [(text, ids.tolist(), end) for text, ids, end in found]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(encode, "BATCH_PIECES", 4)
    monkeypatch.setattr(pieces, "__defaults__", (40,))


@pytest.mark.parametrize("workers", [1, 3])
def test_other_processes_give_what_this_one_gives(tokenizer, small_batches, workers):
    with Encoder(tokenizer) as here, Encoder(tokenizer, workers) as there:
        expected = seen(here.encode(DOCUMENTS))
        assert seen(there.encode(DOCUMENTS)) == expected
        several = [there.encode(DOCUMENTS[i::3], share=1 / 3) for i in range(3)]  # in turn
        found = [next(one) for _ in range(10) for one in several]
        assert seen(found[::3]) == seen(here.encode(DOCUMENTS[0::3]))[:10]
    ends = [end for _, _, end in expected]
    assert [end for end in ends if end] == [document.end for document in DOCUMENTS] and None in ends
    assert "".join(text for text, _, _ in expected) == "".join(document.text for document in DOCUMENTS)


def test_no_more_is_read_ahead_than_said(tokenizer, small_batches):
    read = []
    with Encoder(tokenizer, workers=2) as encoder:
        found = encoder.encode(read.append(i) or document for i, document in enumerate(DOCUMENTS))
        next(found)
        assert len(read) <= 4 * (2 + 2 * 2 + 1)


def test_a_killed_process_is_an_error_in_one_line(tokenizer, small_batches):
    with Encoder(tokenizer, workers=1) as encoder:
        found = encoder.encode(DOCUMENTS)
        next(found)
        (process,) = (p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline()))
        process.kill()
        with pytest.raises(ChildProcessError, match="^one of the data.workers=1 processes was killed"):
            while True:  # until it is noticed
                list(encoder.encode(DOCUMENTS))


def test_a_tokenizer_in_another_process_takes_special_tokens_for_text(tokenizer):
    there = pickle.loads(pickle.dumps(tokenizer))
    text = "<|endoftext|> is text"
    assert next(there.encode([text])).tolist() == next(tokenizer.encode([text])).tolist()
    assert there.checksum == TextTokenizer().checksum
    assert "_words" in vars(there) and "_words" not in vars(pickle.loads(pickle.dumps(there)))
