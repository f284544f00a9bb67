"""The documents of one or several sources in the order of the token stream, and how far the stream is in each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hcexp.data.text.source import Position, Source
from hcexp.data.text.tokens.encode import Chunk, Encoder


@dataclass
class Progress:
    """How far the stream is in one source."""

    weight: float = 1.0  # as it was asked for; its proportion to the others' counts
    tokens: int = 0  # those of its documents, and the EOS after each
    documents: int = 0
    bytes: int = 0  # of their text in UTF-8
    position: Position = (0, 0)  # where its next document begins
    ran_out: bool = False  # all of its documents have been taken


def interleave(
    sources: Mapping[str, Source], progress: Mapping[str, Progress], encoder: Encoder
) -> Iterator[tuple[Progress, Chunk]]:
    """Each next document, from the source that is furthest behind its share of the tokens; of equals the first.

    Whoever takes the chunks counts them in `progress`: the turns go by its `tokens`.
    """
    weights = sum(of_one.weight for of_one in progress.values())
    streams = {
        name: encoder.encode(source.read(progress[name].position), progress[name].weight / weights)
        for name, source in sources.items()
    }
    while left := [name for name in streams if not progress[name].ran_out]:
        behind = min(left, key=lambda name: progress[name].tokens / progress[name].weight)
        chunk = None
        for chunk in streams[behind]:
            yield progress[behind], chunk
            if chunk.end is not None:
                break
        if chunk is None:
            progress[behind].ran_out = True
