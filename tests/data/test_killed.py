"""A preparation that is killed again and again ends with the tokens of one that was left alone."""

import json
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from hcexp.data import LocalSource, Mixture, prepare
from hcexp.data.text.tokens import encode
from hcexp.data.text.tokens.journal import JOURNAL

WEIGHTS = {"a": 5, "b": 1, "c": 3}


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    """Two hundred documents of very different lengths in three files."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("texts")
    for name in WEIGHTS:
        rows = [
            {"text": " ".join(draw.choices(["stone", "river", "light"], k=draw.randrange(0, 60)))} for _ in range(70)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def journals(cache: Path) -> list[str]:
    return [path.read_text() for path in cache.glob(f"*/{JOURNAL}")]


def kill_in_its_middle(act, cache: Path, workers: int, delay: float) -> None:
    """Act in a process of its own, and kill it once it has gone on, and a moment later."""
    before = journals(cache)
    pid = os.fork()
    if not pid:
        try:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"  # it has none of the tokenizer's threads
            act()
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    while journals(cache) == before and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    children = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) >= workers and not alive


@pytest.mark.parametrize(
    ("kind", "workers", "kills"),
    [
        ("files", 0, 3),
        ("mixture", 0, 3),
        ("mixture", 2, 1),
        pytest.param("mixture", 2, 3, marks=pytest.mark.slow),
        pytest.param("files", 2, 3, marks=pytest.mark.slow),
    ],
)
def test_killed_and_gone_on_with(texts, tmp_path, tokenizer, monkeypatch, capfd, kind, workers, kills):
    if kind == "files":
        source, max_tokens = LocalSource(texts), None
    else:
        source = Mixture({name: {"files": texts / f"{name}.jsonl", "weight": w} for name, w in WEIGHTS.items()})
        max_tokens = 4000
    knobs = {"max_tokens": max_tokens, "shard_tokens": 1000}
    whole = prepare(source, tokenizer, tmp_path / "whole", progress=False, **knobs)

    cache, read, pause = tmp_path / "cache", LocalSource.read, 0.005

    def slowly(self, start=(0, 0)):
        for document in read(self, start):
            time.sleep(pause)
            yield document

    monkeypatch.setattr(LocalSource, "read", slowly)
    monkeypatch.setattr(encode, "BATCH_CHUNKS", 3)
    draw = random.Random(random.getrandbits(32))
    for _ in range(kills):
        kill_in_its_middle(
            lambda: prepare(source, tokenizer, cache, workers=workers, save_every=0, **knobs),
            cache,
            workers,
            draw.uniform(0, 0.1),
        )
    capfd.readouterr()
    pause = 0
    made = prepare(source, tokenizer, cache, **knobs)
    assert "goes on after" in capfd.readouterr().err
    assert json.loads((made.folder / "index.json").read_text()) == json.loads((whole.folder / "index.json").read_text())
    for shard in whole.folder.glob("*.bin"):
        assert (made.folder / shard.name).read_bytes() == shard.read_bytes()
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".lock"]
    assert sorted(path.name for path in made.folder.iterdir()) == sorted(path.name for path in whole.folder.iterdir())
