"""What a preparation shows: one moving line in a terminal, one plain line at the end elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class PrepareProgress:
    """Documents, tokens and MB/s (10⁶ bytes of UTF-8 text a second) on the standard error stream."""

    def __init__(self, title: str, enabled: bool = True):
        self._title, self._enabled = title, enabled
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._line = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not (enabled and self._console.is_terminal),
        )
        self._task = self._line.add_task(title)
        self._counts = ""

    def __enter__(self) -> "PrepareProgress":
        self._start = time.monotonic()
        self._line.start()
        return self

    def update(self, documents: int, tokens: int, text_bytes: int) -> None:
        """Show the counts so far."""
        speed = text_bytes / 1e6 / max(time.monotonic() - self._start, 1e-9)
        self._counts = f"{documents:,} documents, {tokens:,} tokens, {speed:.1f} MB/s"
        self._line.update(self._task, description=f"{self._title}: {self._counts}")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._line.stop()
        if self._enabled and error is None:
            self._console.print(f"{self._title}: {self._counts}", markup=False)
