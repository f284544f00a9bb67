from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hcexp.data import TextTokenizer, TokenStore
from hcexp.data.shards import ShardWriter


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer()


@pytest.fixture
def counting_store(tmp_path: Path) -> Callable[[int], TokenStore]:
    """A store whose token i is i, so that a target says which prediction it is."""

    def make(tokens: int) -> TokenStore:
        writer = ShardWriter(tmp_path / f"store{tokens}", 1 << 16, shard_tokens=7)
        writer.append(np.arange(tokens))
        writer.close(documents=1, bytes=tokens, eos_id=0)
        return TokenStore(writer.folder)

    return make
