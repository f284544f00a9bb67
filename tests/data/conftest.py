import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from hcexp.data import TextTokenizer, TokenStore
from hcexp.data.text.tokens.shards import ShardWriter


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer()


@pytest.fixture
def counting_store(tmp_path: Path) -> Callable[..., TokenStore]:
    """A store whose token i is i, so that a window says where it was read."""
    import numpy as np

    def make(tokens: int, vocabulary_size: int = 1 << 16, shard_tokens: int = 7) -> TokenStore:
        writer = ShardWriter(tmp_path / f"store{tokens}", vocabulary_size, shard_tokens)
        writer.append(np.arange(tokens))
        writer.close(documents=1, bytes=tokens, eos_id=0)
        return TokenStore(writer.folder)

    return make


@pytest.fixture
def word_tokenizer(tmp_path: Path) -> Callable[[dict[str, int]], Path]:
    """A tokenizer.json with one entry a word."""

    def make(vocabulary: dict[str, int]) -> Path:
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.add_special_tokens([word for word in vocabulary if word.startswith("<")])
        path = tmp_path / "words" / "tokenizer.json"
        path.parent.mkdir(exist_ok=True)
        tokenizer.save(str(path))
        return path

    return make


@pytest.fixture
def mixed_folder(tmp_path: Path) -> Path:
    """One folder with every format; the documents are a, b, … in the order of the file names."""
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "mixed"
    (folder / "deeper").mkdir(parents=True)
    (folder / "1.txt").write_text("a first document\nof two lines")
    rows = [{"text": "b", "id": 1}, {"text": "", "id": 2}, {"text": None, "id": 3}, {"text": "c", "id": 4}]
    (folder / "2.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with gzip.open(folder / "3.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": "d"}) + "\n")
    pq.write_table(pa.table({"id": [1, 2], "text": ["e", "f"]}), folder / "4.parquet")
    (folder / "deeper" / "5.txt").write_text("g")
    (folder / "notes.md").write_text("not read")
    return folder
