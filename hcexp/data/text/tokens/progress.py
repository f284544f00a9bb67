"""What a preparation shows: one moving line in a terminal, plain lines elsewhere."""

import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 60  # between two plain lines
PACE_SECONDS = 600  # the bar's time left goes by the pace of the last ten minutes


class PrepareProgress:
    """Documents, tokens, MB/s (10⁶ bytes of UTF-8 text a second) and the time left, on the standard error stream.

    What an earlier process has done (`bytes_before`, `share_before`) does not count for the speed.
    """

    def __init__(self, title: str, enabled: bool = True, bytes_before: int = 0, share_before: float = 0.0):
        self._title, self._enabled = title, enabled
        self._bytes_before, self._share_before = bytes_before, share_before
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        columns = TextColumn("{task.description}", markup=False), BarColumn(20), TaskProgressColumn()
        times = TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
        hidden = not (enabled and self._console.is_terminal)
        self._line = Progress(
            *columns, *times, console=self._console, transient=True, disable=hidden, speed_estimate_period=PACE_SECONDS
        )
        self._task = self._line.add_task(title, total=None, completed=self._share_before)
        self._counts = ""

    def __enter__(self) -> "PrepareProgress":
        self._start = self._told = time.monotonic()
        self._line.start()
        if self._enabled and self._bytes_before:
            self._print(f"goes on after {self._bytes_before / 1e6:,.1f} MB")
        return self

    def update(self, documents: int, tokens: int, text_bytes: int, share: float) -> None:
        """Show the counts so far; `share` is how much of the whole they are, from 0 to 1."""
        now = time.monotonic()
        seconds = max(now - self._start, 1e-9)
        speed = (text_bytes - self._bytes_before) / 1e6 / seconds
        self._counts = f"{documents:,} documents, {tokens:,} tokens, {speed:.1f} MB/s"
        self._line.update(self._task, description=f"{self._title}: {self._counts}", completed=share, total=1.0)
        if self._enabled and not self._console.is_terminal and now - self._told >= PLAIN_SECONDS:
            self._told = now
            done = share - self._share_before
            left = f", {timedelta(seconds=round(seconds * (1 - share) / done))} left" if done > 0 else ""
            self._print(f"{self._counts}, {share:.0%}{left}")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self._line.stop()
        if self._enabled and error is None:
            self._print(self._counts)

    def _print(self, text: str) -> None:
        self._console.print(f"{self._title}: {text}", markup=False)
