import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from hcexp.study.progress import SweepProgress
from hcexp.study.queue import Tally


@pytest.fixture
def shown():
    """A progress on a queue whose tally the test sets, without a terminal; `lines()` are those that were printed."""
    output = io.StringIO()
    queue = SimpleNamespace(now=Tally(5, 2, 0))
    queue.tally = lambda: queue.now
    progress = SweepProgress(queue, Console(file=output, width=60))
    return SimpleNamespace(queue=queue, progress=progress, lines=lambda: output.getvalue().splitlines())


def worker(name="plain, seed 0", share=0.5, attempt=1):
    return SimpleNamespace(
        point=SimpleNamespace(name=name),
        claim=SimpleNamespace(attempt=attempt),
        started=time.monotonic() - 65,
        progress=lambda: (share, "loss 4.2"),
    )


def test_the_bar_has_what_was_left_the_steps_of_unfinished_runs_and_what_others_do(shown):
    (bar,) = shown.progress._progress.tasks
    assert (bar.total, bar.completed) == (3, 0)
    shown.queue.now = Tally(5, 3, 2)
    shown.progress.changed([worker(share=0.5), worker(share=0.25)])
    assert bar.completed == 1.75 and bar.fields["elsewhere"] == ""
    shown.queue.now = Tally(5, 2, 3)
    shown.progress.changed([worker()])
    assert bar.fields["elsewhere"] == "2 elsewhere"
    shown.queue.now = Tally(5, 4, 1)
    for _ in range(3):
        shown.progress.changed([])
    assert shown.lines() == ["nothing is left to start; waiting for 1 run elsewhere"], "once"


def test_without_a_terminal_a_minute_is_a_line(shown, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("hcexp.study.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    shown.progress._progress.get_time = lambda: clock[0]
    shown.progress._said = clock[0]
    shown.queue.now = Tally(5, 3, 2)
    for second in range(121):
        clock[0] = 1000 + second
        shown.progress.changed([worker(share=second / 240)])
    first, last = shown.lines()
    # A run in four minutes, one of three was done before: at half of the second, six of its minutes are left.
    assert first.startswith("42 % of 3 runs, ") and first.endswith("left; plain, seed 0: 25%  loss 4.2")
    assert last == "50 % of 3 runs, 0:06:00 left; plain, seed 0: 50%  loss 4.2"


def test_every_end_is_a_line(shown):
    shown.queue.now = Tally(5, 3, 0)
    shown.progress.ended(worker(), {"state": "finished", "error": None, "metrics": {"train/loss": 4.2119}})
    error = "loss is nan at step 2, and many more words of advice, none of which is to be cut or wrapped"
    shown.progress.ended(worker(attempt=2), {"state": "failed", "error": error, "metrics": {}})
    shown.progress.ended(worker(), {"state": "stopped", "error": "killed; it goes on from step 4", "metrics": {}})
    shown.queue.now = Tally(5, 4, 0)
    shown.progress.ended(worker("a, trial 3"), {"state": "pruned", "error": None, "metrics": {"train/loss": 5.0}})
    assert shown.lines() == [
        "[1/3] plain, seed 0: finished in 1:05  train loss 4.212",
        f"[1/3] plain, seed 0: failed in 1:05, attempt 2 of 3  {error}",
        "[1/3] plain, seed 0: stopped in 1:05  killed; it goes on from step 4",
        "[2/3] a, trial 3: pruned in 1:05  train loss 5.000",
    ]
