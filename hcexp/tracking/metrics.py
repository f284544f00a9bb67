"""A run's metrics as a file in its folder: the one record, which reports read and MLflow is told from.

A line is a JSON object, the last one too ended by a line feed:

    {"step": 10, "time": 1764263410123, "metrics": {"train/loss": 5.1, "train/lr": 0.003}}

`step` counts optimiser steps, `time` milliseconds since 1970. JSON has no number that is not finite: such a value is
the string "NaN", "Infinity" or "-Infinity", as protobuf writes it, of which Python's `float` and JavaScript's `Number`
make the number again. `pandas.read_json(path, lines=True)` reads the file.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hcexp.disk.atomic import atomic_write

METRICS = "metrics.jsonl"  # in the run's folder
TAIL_BYTES = 1 << 16


class Line(NamedTuple):
    """What was logged together: the optimiser step, milliseconds since 1970, and values by their names."""

    step: int
    time: int
    metrics: dict[str, float]


class MetricsFile:
    """Appends lines to a file of metrics: kept in memory by `append`, written by `flush`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[str] = []

    def append(self, metrics: Mapping[str, float], step: int) -> None:
        """Take a line, which is in memory until `flush`."""
        values: dict[str, float | str] = {name: float(value) for name, value in metrics.items()}
        values |= {name: json.dumps(value) for name, value in values.items() if not math.isfinite(value)}
        line = {"step": step, "time": int(time.time() * 1000), "metrics": values}
        self._waiting.append(json.dumps(line) + "\n")

    def flush(self) -> None:
        """Write what is in memory, for good.

        Raises OSError, in one line; the file then ends with a whole line, and memory has what was not written.
        """
        if not self._waiting:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                size = file.tell()
                file.writelines(self._waiting)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, size)  # half a line would spoil the next one
            line = f"{self.path} cannot be written ({error.strerror}): make room, and the same command goes on"
            raise OSError(error.errno, line) from error
        self._waiting.clear()

    def cut(self, step: int) -> None:
        """Drop the points after an optimiser step, and half a line that a killed process left: before a run goes on.

        The file is replaced at once. Raises what `read` and `atomic_write` raise.
        """
        if not self.path.is_file():
            return
        content, kept, start = self.path.read_bytes(), [], 0
        for end, line in lines(self.path):
            if line.step <= step:
                kept.append(content[start:end])
            start = end
        if (whole := b"".join(kept)) != content:
            with atomic_write(self.path, "wb") as file:
                file.write(whole)


def lines(path: Path, start: int = 0) -> Iterator[tuple[int, Line]]:
    """The whole lines from the byte `start`, each with the byte that it ends before; none if there is no file.

    Raises ValueError for a line that is damaged; the last one is passed over as long as it has no end.
    """
    if not path.is_file():
        return
    with open(path, "rb") as file:
        file.seek(start)
        for text in file:
            if not text.endswith(b"\n"):
                return
            try:
                line = _parse(text)
            except ValueError as error:
                raise ValueError(f"{path} is damaged: delete its line {text[:60]!r} ({error})") from None
            start += len(text)
            yield start, line


def read(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves in a file of metrics: (step, value) by name, in step order; of two values of a step the later one.

    Empty if there is no file; raises ValueError for one that is damaged.
    """
    points: dict[str, dict[int, float]] = {}
    for _, line in lines(path):
        for name, value in line.metrics.items():
            points.setdefault(name, {})[line.step] = value
    return {name: sorted(by_step.items()) for name, by_step in points.items()}


def tail(path: Path) -> list[Line]:
    """The lines in the last 64 KiB of a file of metrics, which may be growing; what is no line is passed over."""
    try:
        with open(path, "rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(begin)
            texts = file.read().split(b"\n")
    except OSError:
        return []
    found = []
    for text in texts[1 if begin else 0 : -1]:
        with suppress(ValueError):
            found.append(_parse(text))
    return found


def _parse(text: bytes) -> Line:
    try:
        line = json.loads(text)
        metrics = {name: float(value) for name, value in line["metrics"].items()}
        return Line(int(line["step"]), int(line["time"]), metrics)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
