"""What a person sees of a sweep: a bar over all runs, with a line for each at work, and a line whenever one ends."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from hcexp.study import Point
from hcexp.study.workers import Worker

PACE_SECONDS = 600  # the time left goes by the pace of the last ten minutes


class SweepProgress:
    """A context that shows `run_points` at work; `failed` collects the points that failed, with their errors."""

    def __init__(self, runs: int, console: Console):
        self.runs = runs
        self.done = 0
        self.failed: list[tuple[Point, str]] = []
        self._console = console
        self._running: list[str] = []
        self._progress = Progress(
            TextColumn("sweep"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=PACE_SECONDS,
        )
        self._task = self._progress.add_task("", total=runs)
        self._live = Live(console=console, get_renderable=self._view, transient=True)

    def _view(self) -> Group:
        return Group(self._progress, *(Text(line, no_wrap=True, overflow="ellipsis") for line in self._running))

    def __enter__(self) -> "SweepProgress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def changed(self, running: list[Worker]) -> None:
        """Move the bar to the steps that are done, those of unfinished runs included."""
        at = [(worker.point.name, *worker.progress()) for worker in running]
        self._running = [f"  {name}: {share:.0%}  {status}" for name, share, status in at]
        self._progress.update(self._task, completed=self.done + sum(share for _, share, _ in at))

    def ended(self, worker: Worker, result: dict) -> None:
        """Print how a run ended."""
        self.done += 1
        minutes, seconds = divmod(round(time.monotonic() - worker.started), 60)
        if result["state"] == "finished":
            outcome = f"train loss {result['metrics'].get('train/loss', float('nan')):.3f}"
        else:
            outcome = result["error"]
            self.failed.append((worker.point, outcome))
        line = f"[{self.done}/{self.runs}] {worker.point.name}: {result['state']} in {minutes}:{seconds:02}  {outcome}"
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
