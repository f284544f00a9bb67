import gzip
import json
import multiprocessing
import os
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from hcexp.data import TextTokenizer, TokenStore
from hcexp.data.text.mixture import Mixture
from hcexp.data.text.tokens.shards import ShardWriter


@pytest.fixture(scope="session")
def tokenizer():
    return TextTokenizer()


@pytest.fixture
def counting_store(tmp_path):
    """A store whose token i is i, so that a window says where it was read."""

    def make(tokens, shard_tokens=7):
        writer = ShardWriter(tmp_path / f"store{tokens}", 1 << 16, shard_tokens)
        writer.append(np.arange(tokens))
        writer.close(documents=1, bytes=tokens, eos_id=0)
        return TokenStore(writer.folder)

    return make


@pytest.fixture
def word_tokenizer(tmp_path):
    """A tokenizer.json with one entry a word."""

    def make(vocabulary):
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.add_special_tokens([word for word in vocabulary if word.startswith("<")])
        path = tmp_path / "words" / "tokenizer.json"
        path.parent.mkdir(exist_ok=True)
        tokenizer.save(str(path))
        return path

    return make


@pytest.fixture
def mixed_folder(tmp_path):
    """One folder with every format; the documents are a, b, … in the order of the file names."""
    folder = tmp_path / "mixed"
    (folder / "deeper").mkdir(parents=True)
    (folder / "1.txt").write_text("a first document\nof two lines")
    rows = [{"text": "b", "id": 1}, {"text": "", "id": 2}, {"text": None, "id": 3}, {"text": "c", "id": 4}]
    (folder / "2.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "3.jsonl.gz").write_bytes(gzip.compress(b'{"text": "d"}\n'))
    pq.write_table(pa.table({"id": [1, 2], "text": ["e", "f"]}), folder / "4.parquet")
    (folder / "deeper" / "5.txt").write_text("g")
    (folder / "notes.md").write_text("not read")
    return folder


@pytest.fixture(scope="session")
def three_files(tmp_path_factory):
    """A folder of three files, whose documents say where they are from and differ in length."""
    folder = tmp_path_factory.mktemp("three")
    for name, length in {"a": 30, "b": 3, "c": 12}.items():
        lines = "".join(f'{{"text": "{name}{i}{" x" * (length + i % 5)}"}}\n' for i in range(100))
        (folder / f"{name}.jsonl").write_text(lines)
    return folder


@pytest.fixture
def mixture(three_files):
    """A mixture of the three files by the weights of their names."""

    def make(**weights):
        return Mixture({name: {"files": three_files / f"{name}.jsonl", "weight": w} for name, w in weights.items()})

    return make


@pytest.fixture
def at_once(tmp_path, monkeypatch):
    """What forked processes give that call the same at once, and how often they called `slowed`, a name of `of`."""

    def at_once(call, processes, of, slowed):
        def slowly(*arguments):
            with (tmp_path / "calls").open("a") as file:
                file.write(".")
            time.sleep(0.4)  # long enough for the others to arrive
            return genuine(*arguments)

        def put():
            os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a forked process has none of the tokenizer's threads
            found.put(call())

        genuine, fork = getattr(of, slowed), multiprocessing.get_context("fork")
        monkeypatch.setattr(of, slowed, slowly)
        found = fork.Queue()
        for _ in range(processes):
            fork.Process(target=put, daemon=True).start()
        return [found.get(timeout=20) for _ in range(processes)], (tmp_path / "calls").stat().st_size

    return at_once
