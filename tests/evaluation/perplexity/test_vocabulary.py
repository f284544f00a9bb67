import json

import pytest

from hcexp.data import TextTokenizer, corpus
from hcexp.evaluation import Vocabulary


@pytest.fixture
def content():
    return json.loads(corpus.TOKENIZER.read_text())


def read(content, file, **options):
    file.write_text(json.dumps(content))
    return TextTokenizer(file, **options)


def test_the_same_text_tokens_are_the_same_vocabulary(tokenizer, vocabulary, content, tmp_path):
    """Whatever the name of the file, and however the special tokens outside the bounds are spelled."""
    special, ids = content["added_tokens"][0], content["model"]["vocab"]
    assert special["id"] == tokenizer.eos_id == 0
    ids["<|end|>"] = ids.pop(special["content"])
    special["content"] = "<|end|>"
    other = read(content, tmp_path / "other.json", eos="<|end|>")
    assert other.checksum != tokenizer.checksum
    vocabulary.require(other, "it")
    with pytest.raises(ValueError, match="another vocabulary"):
        Vocabulary("mine", 0, 4095, Vocabulary("mine", 0, 4095, "").fingerprint(tokenizer)).require(other, "it")


@pytest.mark.parametrize("shorter", [False, True])
def test_another_vocabulary_is_refused_in_one_line(vocabulary, content, tmp_path, shorter):
    ids = content["model"]["vocab"]
    last, before = (next(token for token, i in ids.items() if i == wanted) for wanted in (4095, 4094))
    ids[last], ids[before] = 4094, 4095
    if shorter:
        del ids[before]
        content["model"]["merges"] = [merge for merge in content["model"]["merges"] if "".join(merge) != before]
    with pytest.raises(ValueError) as raised:
        vocabulary.require(read(content, tmp_path / "other.json"), "the suite v3")
    assert str(raised.value) == (
        f"the suite v3 is made of tokens of org/name, and data.tokenizer={tmp_path}/other.json has another "
        "vocabulary: choose that tokenizer or one of the same vocabulary, or sets of text (evaluation=corpus or "
        "local)"
    )
