import json

import pytest

from hcexp.data import TextTokenizer, corpus
from hcexp.evaluation import Vocabulary


def written(content, folder, **options):
    (folder / "other.json").write_text(json.dumps(content))
    return TextTokenizer(folder / "other.json", **options)


def test_the_same_text_tokens_are_the_same_vocabulary(tokenizer, tmp_path):
    """Whatever the name of the file, and however the special tokens outside the bounds are spelled."""
    content = json.loads(corpus.TOKENIZER.read_text())
    special = content["added_tokens"][0]
    assert special["id"] == tokenizer.eos_id == 0
    renamed = content["model"]["vocab"]
    renamed["<|end|>"] = renamed.pop(special["content"])
    special["content"] = "<|end|>"
    other = written(content, tmp_path, eos="<|end|>")
    assert other.checksum != tokenizer.checksum
    Vocabulary("mine", 1, 4095, Vocabulary("mine", 1, 4095, "").fingerprint(tokenizer)).require(other, "it")
    with pytest.raises(ValueError, match="another vocabulary"):
        Vocabulary("mine", 0, 4095, Vocabulary("mine", 0, 4095, "").fingerprint(tokenizer)).require(other, "it")


@pytest.mark.parametrize("change", ["swap", "shorten"])
def test_another_vocabulary_is_refused_in_one_line(tokenizer, tmp_path, change):
    sha256 = Vocabulary("org/name", 1, 4095, "").fingerprint(tokenizer)
    content = json.loads(corpus.TOKENIZER.read_text())
    vocabulary = content["model"]["vocab"]
    last, before = (next(token for token, i in vocabulary.items() if i == wanted) for wanted in (4095, 4094))
    if change == "swap":
        vocabulary[last], vocabulary[before] = 4094, 4095
    else:
        del vocabulary[last]
        content["model"]["merges"] = [m for m in content["model"]["merges"] if "".join(m) != last]
    with pytest.raises(ValueError) as raised:
        Vocabulary("org/name", 1, 4095, sha256).require(written(content, tmp_path), "the suite v3")
    assert str(raised.value) == (
        f"the suite v3 is made of tokens of org/name, and data.tokenizer={tmp_path}/other.json has another "
        "vocabulary: choose that tokenizer or one of the same vocabulary, or sets of text (evaluation=corpus or "
        "local)"
    )
