import json
import random
import re

import pytest
from tokenizers import Tokenizer

from hcexp.data import TextTokenizer, corpus

STRANGE = ["", " ", "\n\n \t", "naïve — “quotes” 中文 🙂🇩🇪", "\x00\x01\u200b\ufeff", "a\r\nb  c   d", "İ ﬁ Å e\u0301",
           "before<|endoftext|>after <|endoftext|>"]  # fmt: skip


def any_character(draw: random.Random) -> str:
    code = draw.randrange(0x110000 - 0x800)
    return chr(code if code < 0xD800 else code + 0x800)  # surrogates are no characters


def test_the_shipped_tokenizer_gives_back_any_text_and_takes_none_for_its_eos(tokenizer):
    draw = random.Random(0)
    texts = STRANGE + ["".join(any_character(draw) for _ in range(50)) for _ in range(50)]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert tokenizer.decode(ids) == text
        assert tokenizer.eos_id not in ids
    assert tokenizer.vocabulary_size == 4096
    assert tokenizer.decode([tokenizer.eos_id]) == tokenizer.eos == "<|endoftext|>"


def test_truncation_and_padding_of_the_file_are_off(tmp_path):
    trained = Tokenizer.from_file(str(corpus.TOKENIZER))
    trained.enable_truncation(max_length=3)
    trained.enable_padding(length=64)
    trained.save(str(tmp_path / "tokenizer.json"))
    # All that it does is in its checksum.
    assert TextTokenizer(tmp_path).checksum == TextTokenizer().checksum


@pytest.mark.parametrize("text", ["plain words here", "中文 🙂 naïve “text”"])
def test_the_prefix_is_what_the_first_tokens_stand_for(tokenizer, text):
    (ids,) = tokenizer.encode([text])
    assert tokenizer.prefix(text, len(ids)) == text
    assert tokenizer.prefix(text, 0) == ""
    for n in range(len(ids)):
        whole_characters = tokenizer.decode(ids[:n]).rstrip("\ufffd")
        assert tokenizer.prefix(text, n).startswith(whole_characters)
        assert len(tokenizer.prefix(text, n)) <= len(whole_characters) + 1


def test_a_file_that_is_missing_or_no_tokenizer_is_named(tmp_path):
    for name in ("{}/none.json", "{}/none", "{}", "./none", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="^tokenizer='"):
            TextTokenizer(name.format(tmp_path))
    path = tmp_path / "tokenizer.json"
    for content in ("", "{}", json.dumps({"model": {"type": "none"}})):
        path.write_text(content)
        with pytest.raises(ValueError, match=rf"\Atokenizer='{path}' is not a tokenizer: [^\n]+\Z"):
            TextTokenizer(path)


def test_a_hub_name_goes_to_the_hub(monkeypatch):
    class Hub:
        @staticmethod
        def from_pretrained(name):
            if name != "some/model":
                raise OSError("offline\nmode")
            return Tokenizer.from_file(str(corpus.TOKENIZER))

    monkeypatch.setattr("hcexp.data.text.tokens.tokenizer.Tokenizer", Hub)
    assert TextTokenizer("some/model").vocabulary_size == 4096
    with pytest.raises(ConnectionError, match="tokenizer='other/model' is no file, nor on the hub: offline mode"):
        TextTokenizer("other/model")


def test_a_vocabulary_without_the_eos_or_beyond_the_models_is_named(word_tokenizer):
    path = word_tokenizer({"<unk>": 0, "</s>": 1, "<|end_of_text|>": 2, "word": 99})  # four entries, but ids up to 99
    said = f"eos='<|endoftext|>' is not in the tokenizer {path}; near ones and special tokens: <|end_of_text|>, "
    with pytest.raises(ValueError, match=f"^{re.escape(said)}(?!.*word).*</s>"):
        TextTokenizer(path)
    assert TextTokenizer(path, "</s>", vocabulary_size=100).vocabulary_size == 100
    with pytest.raises(ValueError, match="vocabulary_size=99: .* has ids up to 99; allowed is at least 100"):
        TextTokenizer(path, "</s>", vocabulary_size=99)
