import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from hcexp.data.text.tokens import progress
from hcexp.data.text.tokens.progress import PrepareProgress


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, in seconds."""
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_plain_lines_now_and_then(clock, capfd):
    with PrepareProgress("tokens of x") as line:
        for seconds in range(0, 150, 10):
            clock.now = 100 + seconds
            line.update(documents=seconds, tokens=2 * seconds, text_bytes=seconds * 3_000_000, share=seconds / 600)
    # What an earlier process did counts for neither speed nor time.
    with PrepareProgress("x", bytes_before=600_000_000, share_before=0.5) as line:
        clock.now += 100
        line.update(9, 9, text_bytes=800_000_000, share=0.6)
    with pytest.raises(InterruptedError), PrepareProgress("x") as line:  # which says no more
        line.update(9, 9, 9, share=0.5)
        raise InterruptedError
    assert capfd.readouterr().err.splitlines() == [
        "tokens of x: 60 documents, 120 tokens, 3.0 MB/s, 10%, 0:09:00 left",
        "tokens of x: 120 documents, 240 tokens, 3.0 MB/s, 20%, 0:08:00 left",
        "tokens of x: 140 documents, 280 tokens, 3.0 MB/s",
        "x: goes on after 600.0 MB",
        "x: 9 documents, 9 tokens, 2.0 MB/s, 60%, 0:06:40 left",
        "x: 9 documents, 9 tokens, 2.0 MB/s",
    ]


def test_a_terminal_shows_a_bar(monkeypatch, capfd):
    monkeypatch.setattr(progress, "Console", lambda **more: Console(**more, force_terminal=True, width=120))
    with PrepareProgress("x") as line:
        line.update(9, 1000, 9, share=0.25)
        line._line.refresh()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capfd.readouterr().err)
    assert "x: 9 documents, 1,000 tokens" in plain and "25%" in plain and "left" in plain
