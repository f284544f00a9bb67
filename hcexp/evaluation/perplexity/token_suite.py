"""A suite of token files, such as the paper's V2 and V3."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hcexp.evaluation.perplexity.suite import PerplexitySuite
from hcexp.evaluation.perplexity.token_files import TokenFiles
from hcexp.evaluation.perplexity.vocabulary import Vocabulary


class TokenSuite(PerplexitySuite):
    """Named validation sets that are published as tokens of one tokenizer; see `TokenFiles` for their format.

    Args:
        suite: v2 or v3 (the paper's), or local.
        sets: a mapping of set names to the paths of their files below `source`.
        source: where the files are: a folder, or an address that starts with https:// or http://.
        vocabulary: what the ids mean.
        eos_ids: the ids that may end a document.
        documents, max_tokens, batch_size, every: see `PerplexitySuite`; it raises what that and `TokenFiles` raise.
    """

    def __init__(
        self,
        suite: str,
        sets: Mapping[str, str | Sequence[str]],
        source: str | os.PathLike,
        vocabulary: Vocabulary,
        eos_ids: Sequence[int],
        documents: int | None = None,
        max_tokens: int | None = None,
        batch_size: int = 16,
        every: int | None = None,
    ):
        files = {name: TokenFiles(source, paths, eos_ids) for name, paths in sets.items()}
        super().__init__(suite, files, documents=documents, max_tokens=max_tokens, batch_size=batch_size, every=every)
        self.vocabulary = vocabulary

    def prepare(self, data: Any, cache: str | os.PathLike) -> None:
        """Download and open the sets; ValueError if the tokenizer's ids mean other text, else as `TokenFiles.open`."""
        self.vocabulary.require(data.tokenizer, f"the suite {self.name}")
        super().prepare(data, cache)
