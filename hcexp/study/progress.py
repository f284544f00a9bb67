"""What a person sees of a sweep: a bar over all runs, with a line for each at work, and a line whenever one ends."""

import time
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from hcexp.study import Queue
from hcexp.study.claim import MAX_ATTEMPTS
from hcexp.study.workers import Worker

PACE_SECONDS = 600  # the time left goes by the pace of the last ten minutes
LINE_SECONDS = 60  # between two lines where there is no terminal


class SweepProgress:
    """A context that shows `run_points` at work on a queue, and what other drivers do there."""

    def __init__(self, queue: Queue, console: Console):
        self._queue, self._console = queue, console
        tally = queue.tally()
        self._before, self._runs = tally.settled, tally.points - tally.settled
        self._waiting = False
        self._running: list[str] = []
        self._progress = Progress(
            TextColumn("sweep"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[elsewhere]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=PACE_SECONDS,
        )
        self._task = self._progress.add_task("", total=self._runs, elsewhere="")
        self._live = Live(console=console, get_renderable=self._view, transient=True)
        self._said = time.monotonic()

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
        tally = self._queue.tally()
        elsewhere = max(0, tally.running - len(running))
        if elsewhere and not running and not self._waiting:
            self.say(f"nothing is left to start; waiting for {_runs(elsewhere)} elsewhere")
        self._waiting = bool(elsewhere) and not running
        at = [(worker.point.name, *worker.progress()) for worker in running]
        self._running = [f"  {name}: {share:.0%}  {status}" for name, share, status in at]
        self._progress.update(
            self._task,
            completed=tally.settled - self._before + sum(share for _, share, _ in at),
            elsewhere=f"{elsewhere} elsewhere" if elsewhere else "",
        )
        if not self._console.is_terminal and time.monotonic() - self._said >= LINE_SECONDS:
            self._line()

    def _line(self) -> None:
        """Where there is no bar: how far the sweep is, as a line in a log."""
        (task,) = self._progress.tasks
        left = "" if task.time_remaining is None else f", {timedelta(seconds=round(task.time_remaining))} left"
        self.say("; ".join([f"{task.percentage:.0f} % of {_runs(self._runs)}{left}", *map(str.strip, self._running)]))

    def ended(self, worker: Worker, result: dict) -> None:
        """Print how a run ended."""
        minutes, seconds = divmod(round(time.monotonic() - worker.started), 60)
        how = f"{result['state']} in {minutes}:{seconds:02}"
        if result["state"] == "failed":
            how += f", attempt {worker.claim.attempt} of {MAX_ATTEMPTS}  {result['error']}"
        elif result["state"] == "stopped":
            how += f"  {result['error']}"
        else:
            how += f"  train loss {result['metrics'].get('train/loss', float('nan')):.3f}"
        done = self._queue.tally().settled - self._before
        self.say(f"[{done}/{self._runs}] {worker.point.name}: {how}")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._said = time.monotonic()
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
