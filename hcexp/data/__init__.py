"""Samples to batches; for text: documents → tokens → flat shards → a batch for each (seed, step).

`TextData` is the data module; the parts it is made of (`prepare`, `LocalSource`, …) also serve evaluation.
"""

from typing import TYPE_CHECKING

from hcexp.data.text.files import find_files
from hcexp.data.text.local import LocalSource
from hcexp.data.text.mixture import make_source
from hcexp.data.text.source import Document, Position, Source
from hcexp.data.text.tokens.prepare import prepare
from hcexp.data.text.tokens.shards import TokenStore
from hcexp.data.text.tokens.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from hcexp.data.text.data import TextData

__all__ = [
    "Document",
    "LocalSource",
    "Position",
    "Source",
    "TextData",
    "TextTokenizer",
    "TokenStore",
    "find_files",
    "make_source",
    "prepare",
]


def __getattr__(name: str) -> type:
    if name == "TextData":  # it imports torch, which a process that only tokenises can do without
        from hcexp.data.text.data import TextData

        return TextData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
