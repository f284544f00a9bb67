"""A preparation that is killed again and again ends with the tokens of one that was left alone."""

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from hcexp.data import LocalSource, prepare
from hcexp.data.text.tokens import encode
from hcexp.data.text.tokens.journal import JOURNAL


def journals(cache: Path) -> list[str]:
    return [path.read_text() for path in cache.glob(f"*/{JOURNAL}")]


def kill_in_its_middle(act, cache, workers):
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
    time.sleep(random.uniform(0, 0.1))
    children = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (gone or not workers) and not alive


@pytest.mark.parametrize(
    ("max_tokens", "workers", "kills"),
    [
        (None, 0, 3),
        (4000, 0, 3),
        (4000, 2, 1),
        pytest.param(4000, 2, 3, marks=pytest.mark.slow),
        pytest.param(None, 2, 3, marks=pytest.mark.slow),
    ],
)
def test_killed_and_gone_on_with(mixture, tmp_path, tokenizer, monkeypatch, capfd, max_tokens, workers, kills):
    source, knobs = mixture(a=5, b=1, c=3), {"max_tokens": max_tokens, "shard_tokens": 1000}
    whole = prepare(source, tokenizer, tmp_path / "whole", progress=False, **knobs)

    def slowly(self, start=(0, 0)):
        for document in read(self, start):
            time.sleep(pause)
            yield document

    cache, read, pause = tmp_path / "cache", LocalSource.read, 0.005
    monkeypatch.setattr(LocalSource, "read", slowly)
    monkeypatch.setattr(encode, "BATCH_CHUNKS", 3)
    for _ in range(kills):
        act = lambda: prepare(source, tokenizer, cache, workers=workers, save_every=0, **knobs)  # noqa: E731
        kill_in_its_middle(act, cache, workers)
    capfd.readouterr()
    pause = 0
    made = prepare(source, tokenizer, cache, **knobs)
    assert "goes on after" in capfd.readouterr().err
    contents = [{path.name: path.read_bytes() for path in store.folder.iterdir()} for store in (made, whole)]
    assert contents[0] == contents[1]
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".lock"]
