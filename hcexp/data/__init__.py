"""Text to batches: documents → tokens → memory-mapped shards → a batch for each (seed, step).

`TextData` is the data module; the parts it is made of (`prepare`, `TextSource`, …) also serve evaluation.
"""

from typing import TYPE_CHECKING

from hcexp.data.order import batch_indices
from hcexp.data.text.mixture import Mixture
from hcexp.data.text.source import TextSource, find_files
from hcexp.data.text.tokens.prepare import fingerprint, prepare
from hcexp.data.text.tokens.shards import TokenStore
from hcexp.data.text.tokens.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from hcexp.data.module import TextData

__all__ = [
    "Mixture",
    "TextData",
    "TextSource",
    "TextTokenizer",
    "TokenStore",
    "batch_indices",
    "find_files",
    "fingerprint",
    "prepare",
]


def __getattr__(name: str) -> type:
    if name == "TextData":  # it imports Lightning, three seconds that a process which only tokenises can do without
        from hcexp.data.module import TextData

        return TextData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
