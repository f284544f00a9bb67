"""Cut a very long document where no token can span the cut.

A tokenizer needs about a hundred bytes a token while it works, and encodes one text on one thread: a gigabyte
in one document would take the machine's memory and leave all but one core idle.
"""

import re
from collections.abc import Iterator

CHUNK = 1 << 20  # characters; shorter documents are never cut

# Pre-tokenisers join a space to the word after it and a line break to the text before it. So the places are:
# between a letter and a single space that a letter follows; after a single line break between two characters
# that are no space.
_PLACE = re.compile(r"(?<=[^\W\d_])(?= [^\W\d_])|(?<=\S\n)(?=\S)")


def split_document(document: str, length: int = CHUNK) -> Iterator[str]:
    """Parts of `length` characters or more (the last may be shorter) that join to the document."""
    start = 0
    while len(document) - start > length:
        place = _PLACE.search(document, start + length)
        if place is None:
            break
        yield document[start : place.start()]
        start = place.start()
    yield document[start:]
