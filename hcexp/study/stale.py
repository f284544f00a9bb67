"""Finished runs that other code has made."""

import os
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from hcexp.run.folder import STALE
from hcexp.run.lock import RunLock
from hcexp.run.record import PACKAGE, code
from hcexp.study.point import Point


def set_aside_stale(points: Sequence[Point]) -> list[Path]:
    """Move the folders of those finished runs in which other code than today's had part; gives where they are now.

    Nothing in them is changed; in MLflow they stay as they are. A run that somebody is at is left alone.
    """
    today = code(PACKAGE)
    moved = []
    for run in {point.run.identity: point.run for point in points}.values():
        if not _made_by_other(run.result(), today) or (lock := RunLock.take(run.directory)) is None:
            continue
        try:
            if _made_by_other(run.result(), today):  # else somebody else has been faster
                stale = run.directory.parent / STALE
                stale.mkdir(exist_ok=True)
                numbered = (stale / f"{run.identity}-{number}" for number in count(1))
                moved.append(next(path for path in numbered if not path.exists()))
                os.rename(run.directory, moved[-1])
        finally:
            lock.close()
    return moved


def _made_by_other(result: Mapping[str, Any], today: str) -> bool:
    if result["state"] != "finished":
        return False
    return any(attempt["code"] != today for attempt in result.get("attempts", [result["record"]]))
