"""What ids stand for: token files may be scored only by a model whose ids mean the same text."""

from hcexp.data import TextTokenizer
from hcexp.disk.checksum import checksum


class Vocabulary:
    """The ids `first` to `last` of a tokenizer, known by what each of them decodes to.

    Ids outside are left out: tokenizers with the same text tokens may number their special ones differently.

    Args:
        tokenizer: name of a tokenizer that has the vocabulary, for the message.
        first, last: the ids that count.
        sha256: what `fingerprint` gives for that tokenizer.
    """

    def __init__(self, tokenizer: str, first: int, last: int, sha256: str):
        self.tokenizer, self.first, self.last, self.sha256 = tokenizer, first, last, sha256

    def fingerprint(self, tokenizer: TextTokenizer) -> str:
        """Of the text of every id that counts, in hex."""
        return checksum([tokenizer.decode([i]) for i in range(self.first, self.last + 1)])

    def require(self, tokenizer: TextTokenizer, what: str) -> None:
        """Raise ValueError if the tokenizer's ids do not mean the same text; `what` is made of the vocabulary."""
        if self.fingerprint(tokenizer) != self.sha256:
            raise ValueError(
                f"{what} is made of tokens of {self.tokenizer}, and data.tokenizer={tokenizer.name} has another "
                "vocabulary: choose that tokenizer or one of the same vocabulary, or sets of text (evaluation=corpus "
                "or local)"
            )
