"""A sweep in MLflow: the runs of its points are the children of a run that keeps its report."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from omegaconf import DictConfig

from hcexp.run.run import RESULT
from hcexp.study.sweep.sweep import Sweep
from hcexp.tracking import adopt, close_parent, fail_run, open_parent, open_store, public, send_unsent, store_uri
from hcexp.tracking.outbox import run_id
from hcexp.tracking.store import one_line


class TrackedSweep:
    """Opens the sweep's parent run, in the store that the first of its points is recorded in.

    Where runs are not tracked nothing happens. A store that fails is warned of once and then left alone: the runs
    themselves do without.
    """

    def __init__(self, sweep: Sweep, scale: str, config: DictConfig, known: Iterable[tuple[str, str]] = ()):
        """`known`: the runs that there may be already, see `Source.known`. They become children, and the store is told
        what it missed of those that have ended.
        """
        self._name = f"{sweep.name}-{scale}"
        self._tags = {"sweep": self._name} | ({"table": str(sweep.table)} if sweep.table else {})
        self._known: set[str] = set()  # identities of the children
        self._runs = Path(config.paths.runs)
        self._uri: str | None = None
        if "uri" in config.tracking:
            self._uri = store_uri(config.tracking.uri, config.paths.runs)
            with self._guarded():
                open_store(self._uri, config.paths.runs, config.tracking.experiment)
                note = "\n\n".join(filter(None, (sweep.title, sweep.question)))
                about = {"scale": scale, "mlflow.note.content": note}
                self._parent = open_parent(self._uri, config.tracking.experiment, self._name, about | self._tags)
            for identity, label in known:
                self.adopt(identity, label)
                folder = self._runs / identity
                if self._uri is not None and (folder / RESULT).is_file() and self._run_id(identity):
                    send_unsent(self._uri, folder)

    def adopt(self, identity: str, label: str) -> None:
        """Make a child of the run with this identity, if it is in the store by now, tagged with its row."""
        if self._uri is None or identity in self._known or not (run_id := self._run_id(identity)):
            return
        self._known.add(identity)
        with self._guarded():
            adopt(self._uri, self._parent, run_id, {**self._tags, "row": label})

    def ended(self, identity: str, label: str, result: Mapping[str, Any]) -> None:
        """Follow a run to its end: one whose process was killed, so that others wrote its result, is FAILED."""
        self.adopt(identity, label)
        if self._uri is not None and "log" in result and (run_id := self._run_id(identity)):
            with self._guarded():
                fail_run(self._uri, run_id, result["error"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """What ends without `close` was stopped by an error, which is a failure, or by Ctrl-C or a signal."""
        if kind is not None:
            self.close("FAILED" if issubclass(kind, Exception) else "KILLED")

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

    def _run_id(self, identity: str) -> str:
        """Of the run in MLflow; empty if it is not there."""
        return run_id(self._runs / identity)
