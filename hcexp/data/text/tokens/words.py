"""Byte-level BPE by a table of words: each is encoded once, by the tokenizer itself, and then looked up.

`tokenizers` cuts text into words at some 3 MB/s, which `re` does at 30, and merges the same words again and again. On
12 MB of PubMed, in turn on one core, the library took 2.1 times as much processor time (2.3 in the median megabyte).
"""

import json
import re
from array import array
from collections.abc import Iterable
from itertools import groupby

import numpy as np
from tokenizers import Tokenizer

WORDS = 1 << 18  # in the table, some 50 MB; then it begins anew
LONGEST = 64  # characters; longer words are not kept

# GPT-2's pattern, its Unicode classes narrowed to ASCII. A word that touches any other character is left to the
# tokenizer together with what follows, until a space between two ASCII letters: that is a border between words
# whatever stands around it, and no normal form composes across it. The pattern never looks back, so the words after
# a border do not depend on what is before it.
_OTHER = r"[^\x00-\x7f]"
_WORD = re.compile(
    r"(?>'(?:[sdmt]|ll|ve|re)"
    r"| ?[A-Za-z]+"
    r"| ?[0-9]+"
    r"| ?[^\sA-Za-z0-9\x80-\U0010ffff]+"
    rf"|(?!\s+{_OTHER})(?:\s+(?!\S)|\s+)"
    rf")(?!{_OTHER})"
    r"|(?s:.)+?(?:(?<=[A-Za-z])(?= [A-Za-z])|\Z)",
    re.ASCII,
)
# The only characters beyond ASCII whose normal form is ASCII: they could spell an added token.
_BECOME_ASCII = ("\u037e", "\u1fef", "\u212a")


class WordTable(dict[str, bytes]):
    """Words and their ids, uint32, of a tokenizer that `cuts_words_alike`; a missing one is encoded and put into it."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self._tokenizer = tokenizer
        added = json.loads(tokenizer.to_str())["added_tokens"]
        special = [token["content"] for token in added if token["special"]]
        self._not_for_the_table = (*special, *_BECOME_ASCII)
        self._added = _longest_of(token["content"] for token in added if not token["special"])

    def encode(self, text: str) -> np.ndarray:
        """The ids that the tokenizer gives for `text`: uint32, shape (tokens,)."""
        if any(part in text for part in self._not_for_the_table):
            return np.frombuffer(self._ids(text), dtype=np.uint32)
        # Added tokens come first, even in the middle of what would be a word.
        parts = self._added.split(text) if self._added else [text]
        words = _WORD.findall(parts[0])
        for i in range(1, len(parts), 2):
            words.append(parts[i])
            words += _WORD.findall(parts[i + 1])
        return np.frombuffer(b"".join(map(self.__getitem__, words)), dtype=np.uint32)

    def __missing__(self, word: str) -> bytes:
        ids = self._ids(word)
        if len(word) <= LONGEST:
            if len(self) >= WORDS:
                self.clear()
            self[word] = ids
        return ids

    def _ids(self, text: str) -> bytes:
        return array("I", self._tokenizer.encode(text, add_special_tokens=False).ids).tobytes()


def cuts_words_alike(tokenizer: Tokenizer) -> bool:
    """Whether a `WordTable` gives what the tokenizer gives: so for GPT-2's, GPT-NeoX's, OLMo's and the shipped one."""
    parts = json.loads(tokenizer.to_str())
    cut = parts["pre_tokenizer"] or {}
    return (
        cut.get("type") == "ByteLevel"
        and cut["use_regex"]
        and not cut["add_prefix_space"]
        and parts["normalizer"] in (None, {"type": "NFC"})
        and not parts["model"].get("dropout")
        and _are_plain(parts["added_tokens"])
    )


def _are_plain(added: list[dict]) -> bool:
    """Whether added tokens are found wherever their texts stand, in one search, and stand for no more than that."""
    conditions = ("single_word", "lstrip", "rstrip")
    return (
        all(token["content"].isascii() for token in added)
        and not any(token[condition] for token in added for condition in conditions)
        and len({token["normalized"] for token in added if not token["special"]}) <= 1
    )


def _longest_of(texts: Iterable[str]) -> re.Pattern | None:
    """A pattern with one group that finds the leftmost and longest of the texts; None if there are none."""
    # By their first characters, of which each branch has its own: three times as fast.
    ordered = sorted(texts, key=lambda text: (text[0], -len(text)))
    branches = ["|".join(map(re.escape, group)) for _, group in groupby(ordered, key=lambda text: text[0])]
    return re.compile("(" + "|".join(f"(?:{branch})" for branch in branches) + ")") if branches else None
