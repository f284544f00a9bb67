"""The table of words gives the ids that the library gives, for any text."""

import random

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from hcexp.data import LocalSource, TextTokenizer, corpus
from hcexp.data.text.tokens import words
from hcexp.data.text.tokens.words import WordTable, cuts_words_alike

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


def nonsense(draw: random.Random) -> str:
    return "".join(draw.choices(SCRAPS, k=draw.randrange(1, 40)))


def texts_of(domain: str) -> list[str]:
    return [document.text for document in LocalSource(corpus.VALIDATION / f"{domain}.parquet").read()]


@pytest.fixture(scope="module")
def like_olmo() -> Tokenizer:
    """Small, and with the traits of OLMo's: a normal form, added tokens of spaces and of other characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=["<|endoftext|>", AddedToken("<|spe||cial|>", special=True, normalized=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = texts_of("factbook")
    tokenizer.train_from_iterator([*texts, *(" é café 中文 naïve" for _ in range(9))], trainer)
    added = [" " * n for n in range(2, 9)] + ["|||KEY|||", "||", "a K"]
    tokenizer.add_tokens([AddedToken(text, normalized=True) for text in added])
    return tokenizer


@pytest.fixture(params=["shipped", "like_olmo"])
def tokenizer_(request) -> Tokenizer:
    like_olmo = request.getfixturevalue("like_olmo")
    tokenizer = Tokenizer.from_str(like_olmo.to_str()) if request.param == "like_olmo" else TextTokenizer()._tokenizer
    tokenizer.encode_special_tokens = True
    return tokenizer


def check(tokenizer: Tokenizer, texts: list[str]) -> None:
    table = WordTable(tokenizer)
    for text, expected in zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
        assert table.encode(text).tolist() == expected.ids, repr(text)


def test_any_nonsense(tokenizer_):
    draw = random.Random(random.getrandbits(32))
    check(tokenizer_, [nonsense(draw) for _ in range(1500)])


def test_real_texts(tokenizer_):
    for domain in ("drama", "factbook", "novel", "speeches"):
        check(tokenizer_, [text[:15_000] for text in texts_of(domain)[:4]])


def test_every_character_alone_and_among_words(tokenizer_):
    """Only the ASCII ones are cut here; of the others a few will do."""
    codes = [*range(0x250), *range(0x250, 0xD800, 197), *range(0xE000, 0x110000, 1997)]
    check(tokenizer_, [f"{before}{chr(code)}{after}" for code in codes for before, after in (("", ""), ("a ", "b c"))])


def test_a_full_table_begins_anew(monkeypatch):
    monkeypatch.setattr(words, "WORDS", 7)
    tokenizer = TextTokenizer()
    texts = [" ".join(f"{a}{b}" for a in "abcdefgh") for b in "xyz"]
    for text, expected in zip(texts, tokenizer._tokenizer.encode_batch(texts), strict=True):
        assert next(tokenizer.encode([text])).tolist() == expected.ids
        assert len(tokenizer._words) <= 7


def test_a_very_long_word_is_not_kept():
    table = WordTable(TextTokenizer()._tokenizer)
    assert table.encode("a " + "b" * 1000 + " 中" * 1000).size > 1000
    assert set(table) == {"a"}


def test_who_cuts_words_otherwise_is_left_to_the_library():
    for trait, value in [
        ("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        ("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        ("pre_tokenizer", pre_tokenizers.Whitespace()),
        ("normalizer", normalizers.Lowercase()),
        ("normalizer", normalizers.NFKC()),
        ("model", models.BPE(dropout=0.1)),
    ]:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        assert cuts_words_alike(tokenizer)
        setattr(tokenizer, trait, value)
        assert not cuts_words_alike(tokenizer), (trait, value)


def test_added_tokens_with_conditions_are_left_to_the_library():
    shipped = TextTokenizer().to_json()
    for tokens in [
        [AddedToken("x", lstrip=True)],
        [AddedToken("x", rstrip=True)],
        [AddedToken("x", single_word=True)],
        ["é"],
        [AddedToken("x", normalized=True), AddedToken("y", normalized=False)],
    ]:
        tokenizer = Tokenizer.from_str(shipped)
        assert cuts_words_alike(tokenizer)
        tokenizer.add_tokens(tokens)
        assert not cuts_words_alike(tokenizer), tokens


def test_a_tokenizer_without_a_pre_tokenizer_is_left_to_the_library(word_tokenizer):
    path = word_tokenizer({"<unk>": 0, "<eos>": 1, "a": 2, "b": 3})
    assert not cuts_words_alike(Tokenizer.from_file(str(path)))
    assert next(TextTokenizer(path, "<eos>").encode(["a b"])).tolist() == [2, 3]
