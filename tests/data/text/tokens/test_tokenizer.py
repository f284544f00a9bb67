import json
import random
import re
from types import SimpleNamespace

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from hcexp.data import LocalSource, TextTokenizer, corpus
from hcexp.data.text.tokens import words
from hcexp.data.text.tokens.words import WordTable, cuts_words_alike

STRANGE = ["", " ", "\n\n \t", "naïve — “quotes” 中文 🙂🇩🇪", "\x00\x01\u200b\ufeff", "a\r\nb  c   d", "İ ﬁ Å e\u0301",
           "before<|endoftext|>after <|endoftext|>"]  # fmt: skip


def test_the_shipped_tokenizer_gives_back_any_text_and_takes_none_for_its_eos(tokenizer):
    characters = [*map(chr, range(0xD800)), *map(chr, range(0xE000, 0x110000))]  # surrogates are none
    texts = STRANGE + ["".join(random.choices(characters, k=50)) for _ in range(50)]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert tokenizer.decode(ids) == text
        assert tokenizer.eos_id not in ids
    assert tokenizer.vocabulary_size == 4096
    assert tokenizer.decode([tokenizer.eos_id]) == tokenizer.eos == "<|endoftext|>"


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
    path.write_text(corpus.TOKENIZER.read_text())
    assert TextTokenizer(tmp_path).checksum == TextTokenizer(path).checksum


def test_a_hub_name_goes_to_the_hub_and_truncation_and_padding_are_off(monkeypatch):
    def from_pretrained(name):
        if name != "some/model":
            raise OSError("offline\nmode")
        trained = Tokenizer.from_file(str(corpus.TOKENIZER))
        trained.enable_truncation(max_length=3)
        trained.enable_padding(length=64)
        return trained

    shipped, hub = TextTokenizer().checksum, SimpleNamespace(from_pretrained=from_pretrained)
    monkeypatch.setattr("hcexp.data.text.tokens.tokenizer.Tokenizer", hub)
    assert TextTokenizer("some/model").checksum == shipped  # all that it does is in it
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


# Everything that the cutting of words, the added tokens or a normal form could stumble over.
SCRAPS = [
    *(chr(code) for code in range(128)),
    *"\x85\xa0\u1680\u2000\u2028\u3000\ufeff\u200b",  # spaces of Unicode, and what only looks like one
    *"é\u0301\u0327ªº²½Ⅳ٣ßﬁŉǅ中文かé한🙂🇩🇪",
    *"\u037e\u1fef\u212a",
    *("  ", "   ", "\n\n", "\r\n", "\t\t", " \n ", "'s", "'ll", "'S", "''", "don't", "I'd"),
    *("word", " word", "Kelvin", " 12", "345", "x1", "...", " --", "_", "a b", "|||", "<|end", "endoftext|>"),
    *("<|endoftext|>", "<|spe||cial|>", "|||KEY|||", "|||\u212aEY|||", "u a \u212ax", "of  of   of"),
]


def texts_of(domain: str) -> list[str]:
    return [document.text for document in LocalSource(corpus.VALIDATION / f"{domain}.parquet").read()]


@pytest.fixture(scope="module")
def like_olmo() -> Tokenizer:
    """Small, and with the traits of OLMo's: a normal form, added tokens of spaces and of other characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<|endoftext|>", AddedToken("<|spe||cial|>", special=True, normalized=True)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*texts_of("factbook"), *[" é café 中文 naïve"] * 9], trainer)
    added = [" " * n for n in range(2, 9)] + ["|||KEY|||", "||", "a K"]
    tokenizer.add_tokens([AddedToken(text, normalized=True) for text in added])
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.mark.parametrize("kind", ["shipped", "like_olmo"])
@pytest.mark.parametrize("texts", ["nonsense", "real", "characters"])
def test_the_table_of_words_gives_the_ids_of_the_library(like_olmo, kind, texts):
    # Only the ASCII ones are cut here; of the others a few will do.
    codes = [*range(0x250), *range(0x250, 0xD800, 197), *range(0xE000, 0x110000, 1997)]
    texts = {
        "nonsense": lambda: ["".join(random.choices(SCRAPS, k=random.randrange(1, 40))) for _ in range(1500)],
        "real": lambda: [text[:15_000] for domain in ("drama", "factbook", "novel") for text in texts_of(domain)[:4]],
        "characters": lambda: [text for code in codes for text in (chr(code), f"a {chr(code)}b c")],
    }[texts]()
    tokenizer = like_olmo if kind == "like_olmo" else TextTokenizer()._tokenizer
    table = WordTable(tokenizer)
    for text, expected in zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
        assert table.encode(text).tolist() == expected.ids, repr(text)


def test_a_full_table_begins_anew_and_a_very_long_word_is_not_kept(monkeypatch):
    monkeypatch.setattr(words, "WORDS", 7)
    tokenizer = TextTokenizer()
    texts = [" ".join(f"{a}{b}" for a in "abcdefgh") for b in "xyz"]
    for text, expected in zip(texts, tokenizer._tokenizer.encode_batch(texts), strict=True):
        assert next(tokenizer.encode([text])).tolist() == expected.ids
        assert len(tokenizer._words) <= 7
    table = WordTable(tokenizer._tokenizer)
    assert table.encode("a " + "b" * 1000 + " 中" * 1000).size > 1000
    assert set(table) == {"a"}


def test_who_cuts_words_otherwise_is_left_to_the_library(word_tokenizer):
    for trait, value in [
        ("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        ("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        ("pre_tokenizer", pre_tokenizers.Whitespace()),
        ("normalizer", normalizers.NFKC()),
        ("model", models.BPE(dropout=0.1)),
        ("added", [AddedToken("x", lstrip=True)]),
        ("added", [AddedToken("x", rstrip=True)]),
        ("added", [AddedToken("x", single_word=True)]),
        ("added", ["é"]),
        ("added", [AddedToken("x", normalized=True), AddedToken("y", normalized=False)]),
    ]:
        tokenizer = Tokenizer.from_str(TextTokenizer().to_json())
        assert cuts_words_alike(tokenizer)
        if trait == "added":
            tokenizer.add_tokens(value)
        else:
            setattr(tokenizer, trait, value)
        assert not cuts_words_alike(tokenizer), (trait, value)
    path = word_tokenizer({"<unk>": 0, "<eos>": 1, "a": 2, "b": 3})  # without a pre-tokenizer
    assert next(TextTokenizer(path, "<eos>").encode(["a b"])).tolist() == [2, 3]
