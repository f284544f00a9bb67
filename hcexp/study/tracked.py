"""A sweep in MLflow: the runs of its points are the children of a run that keeps its report."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hcexp.study.point import Point
from hcexp.study.sweep import Sweep
from hcexp.tracking import adopt, close_parent, fail_run, open_parent, open_store, public, store_uri
from hcexp.tracking.store import one_line


class TrackedSweep:
    """Opens the sweep's parent run, in the store that the first of its points is recorded in.

    Where runs are not tracked nothing happens. A store that fails is warned of once and then left alone: the runs
    themselves do without.
    """

    def __init__(self, sweep: Sweep, scale: str, points: Sequence[Point]):
        config = points[0].run.config
        self._name = f"{sweep.name}-{scale}"
        self._tags = {"sweep": self._name} | ({"table": str(sweep.table)} if sweep.table else {})
        self._known: set[str] = set()  # identities of the children
        self._uri: str | None = None
        if "uri" in config.tracking:
            self._uri = store_uri(config.tracking.uri, config.paths.runs)
            with self._guarded():
                open_store(self._uri, config.paths.runs, config.tracking.experiment)
                about = {"scale": scale, "mlflow.note.content": sweep.title}
                self._parent = open_parent(self._uri, config.tracking.experiment, self._name, about | self._tags)
            self.adopt(points)
            for point in points:
                if self._uri is not None:
                    point.run.send_unsent()

    def adopt(self, points: Iterable[Point]) -> None:
        """Make children of the runs that are in the store by now, tagged with their row."""
        for point in points:
            if self._uri is None or point.run.identity in self._known or not (run_id := _run_id(point)):
                continue
            self._known.add(point.run.identity)
            with self._guarded():
                adopt(self._uri, self._parent, run_id, {**self._tags, "row": point.row.label})

    def ended(self, point: Point, result: Mapping[str, Any]) -> None:
        """Follow a run to its end: one whose process was killed, so that others wrote its result, is FAILED."""
        self.adopt([point])
        if self._uri is not None and "log" in result and (run_id := _run_id(point)):
            with self._guarded():
                fail_run(self._uri, run_id, result["error"])

    def close(self, status: str, report: Path | None = None) -> None:
        """End the parent run as FINISHED, FAILED or KILLED, with the files of the report."""
        if self._uri is not None:
            with self._guarded():
                close_parent(self._uri, self._parent, status, report)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
            reason = one_line(error, self._uri)
            warnings.warn(f"{public(self._uri)}: the sweep is not recorded there ({reason})", stacklevel=4)
            self._uri = None


def _run_id(point: Point) -> str:
    """Of the point's run in MLflow; empty if it is not there."""
    path = point.run.directory / "tracking.json"
    return json.loads(path.read_text())["run_id"] if path.is_file() else ""
