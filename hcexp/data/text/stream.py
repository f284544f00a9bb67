"""The documents of one or several sources in the order of the token stream, and what has been taken of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hcexp.data.text.source import Document, Position, TextSource
from hcexp.data.text.tokens.encode import Encoder, Piece


@dataclass
class Taken:
    """What the stream has of one source.

    Attributes:
        weight: as it was asked for; its proportion to the others' counts.
        tokens: those of its documents, and the EOS after each.
        documents, bytes: how many, and their text in UTF-8.
        position: where its next document begins.
        revision: the commit of a hub dataset.
        ran_out: all of its documents have been taken.
    """

    weight: float = 1.0
    tokens: int = 0
    documents: int = 0
    bytes: int = 0
    position: Position = (0, 0)
    revision: str | None = None
    ran_out: bool = False


def in_turn(
    sources: Mapping[str, TextSource], taken: Mapping[str, Taken], encoder: Encoder
) -> Iterator[tuple[Taken, Piece]]:
    """Each next document, from the source that is furthest behind its share of the tokens; of equals the first.

    Args:
        sources: by their names.
        taken: of each source so far. Whoever takes the pieces counts them in it: the turns go by its `tokens`.
        encoder: of the documents.
    """
    weights = sum(of_one.weight for of_one in taken.values())
    streams = {
        name: encoder.encode(_read(source, taken[name].position), taken[name].weight / weights)
        for name, source in sources.items()
    }
    while left := [name for name in streams if not taken[name].ran_out]:
        behind = min(left, key=lambda name: taken[name].tokens / taken[name].weight)
        piece = None
        for piece in streams[behind]:
            yield taken[behind], piece
            if piece.end is not None:
                break
        if piece is None:
            taken[behind].ran_out = True


def can_go_on(source: object) -> bool:
    """Whether a source can be read from any position, as a `TextSource` can."""
    return hasattr(source, "read")


def _read(source: TextSource, start: Position) -> Iterator[Document]:
    if can_go_on(source):
        yield from source.read(start)
        return
    documents = (text for batch in source.documents() for text in batch)
    for i, text in enumerate(documents):
        yield Document(text, (0, i + 1))
