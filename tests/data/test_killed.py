"""A preparation that is killed again and again ends with the tokens of one that was left alone."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hcexp.data import Mixture, TextSource, prepare
from hcexp.data.text.tokens.journal import JOURNAL

KILLS = 3
WEIGHTS = {"a": 5, "b": 1, "c": 3}
SCRIPT = Path(__file__).with_name("killing.py")


@pytest.fixture
def texts(tmp_path) -> Path:
    """Two hundred documents of very different lengths in three files."""
    draw = random.Random(0)
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        rows = [
            {"text": " ".join(draw.choices(["stone", "river", "light"], k=draw.randrange(0, 60)))} for _ in range(70)
        ]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def begin(arguments: dict) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(SCRIPT), json.dumps(arguments)], stderr=subprocess.PIPE, text=True)


def journals(cache: Path) -> list[str]:
    return [path.read_text() for path in cache.glob(f"*/{JOURNAL}")]


def kill_in_its_middle(arguments: dict, delay: float) -> None:
    """Once it has gone on, and a moment later."""
    cache = Path(arguments["cache"])
    before = journals(cache)
    process = begin(arguments)
    deadline = time.monotonic() + 60
    while journals(cache) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) >= arguments["workers"] and not alive


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        ("files", 0),
        ("mixture", 2),
        pytest.param("files", 2, marks=pytest.mark.slow),
        pytest.param("mixture", 0, marks=pytest.mark.slow),
    ],
)
def test_killed_and_gone_on_with(texts, tmp_path, tokenizer, kind, workers):
    if kind == "files":
        sources, source, max_tokens = str(texts), TextSource(texts), None
    else:
        sources = {name: {"files": f"{texts}/{name}.jsonl", "weight": weight} for name, weight in WEIGHTS.items()}
        source, max_tokens = Mixture(sources), 4000
    whole = prepare(source, tokenizer, tmp_path / "whole", max_tokens=max_tokens, shard_tokens=1000, progress=False)

    arguments = {"sources": sources, "cache": str(tmp_path / "cache"), "max_tokens": max_tokens, "workers": workers}
    draw = random.Random(random.getrandbits(32))
    for _ in range(KILLS):
        kill_in_its_middle({**arguments, "pause": 0.01}, draw.uniform(0, 0.2))
    last = begin({**arguments, "pause": 0})
    _, err = last.communicate(timeout=60)
    assert last.returncode == 0 and "goes on after" in err

    (index,) = (tmp_path / "cache").glob("*/index.json")
    assert json.loads(index.read_text()) == json.loads((whole.folder / "index.json").read_text())
    for shard in whole.folder.glob("*.bin"):
        assert (index.parent / shard.name).read_bytes() == shard.read_bytes()
    assert sorted(path.suffix for path in index.parent.parent.iterdir()) == ["", ".lock"]
    assert sorted(path.name for path in index.parent.iterdir()) == sorted(path.name for path in whole.folder.iterdir())
