from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hcexp.data import TextTokenizer, TokenStore
from hcexp.data.text.tokens.shards import ShardWriter
from hcexp.run.evaluate import ModelData
from tests.evaluation.serving import Server


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer()


@pytest.fixture(scope="session")
def data(tokenizer) -> Callable[..., ModelData]:
    """Makes what a benchmark of language asks of a data module."""
    return lambda length=16, tokenizer=tokenizer: ModelData(tokenizer, length, True)


@pytest.fixture(scope="session")
def dolma_file() -> Path:
    """OLMo's tokenizer, which `ai2-olmo-eval` brings along."""
    import olmo_eval

    return Path(olmo_eval.__file__).parent / "tokenizers" / "allenai_gpt-neox-olmo-dolma-v1_5.json"


@pytest.fixture
def counting_store(tmp_path: Path) -> Callable[[int], TokenStore]:
    """A store whose token i is i, so that a target says which prediction it is."""

    def make(tokens: int) -> TokenStore:
        writer = ShardWriter(tmp_path / f"store{tokens}", 1 << 16, shard_tokens=7)
        writer.append(np.arange(tokens))
        writer.close(documents=1, bytes=tokens, eos_id=0)
        return TokenStore(writer.folder)

    return make


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An HTTP server of the folder `served`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    with Server(tmp_path / "served") as running:
        yield running
