"""Text to batches: documents → tokens → memory-mapped shards → a batch for each (seed, step).

`TextData` is the data module; the parts it is made of (`prepare`, `TextSource`, …) also serve evaluation.
"""

from hcexp.data.module import TextData
from hcexp.data.order import batch_indices
from hcexp.data.prepare import fingerprint, prepare
from hcexp.data.shards import TokenStore
from hcexp.data.source import TextSource, find_files
from hcexp.data.tokenizer import TextTokenizer

__all__ = [
    "TextData",
    "TextSource",
    "TextTokenizer",
    "TokenStore",
    "batch_indices",
    "find_files",
    "fingerprint",
    "prepare",
]
