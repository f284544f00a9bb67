"""What an MLflow run is still to be told, and the file that keeps it while the store is away."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcexp.tracking.store import impatient, one_line, public, require_answer

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

UNSENT = "unsent.jsonl"  # in the run's folder
A_CALL = {"metric": 900, "param": 100, "tag": 100}  # entries; MLflow takes 1,000 metrics


class DiskFull(OSError):
    """What the store did not take has no room in the run's folder either."""


class Outbox:
    """Entries for an MLflow run, sent in the order in which they came.

    An entry is a dictionary of strings and numbers; its first key says what it is:

        {"metric": name, "value": 1.0, "timestamp": milliseconds, "step": 10}
        {"param": name, "value": text} and {"tag": name, "value": text}
        {"artifact": path, "folder": folder or None}
        {"status": "FINISHED", "timestamp": milliseconds}

    What the store does not take goes into the file `path`, one entry a line, and is sent before all that comes later,
    by this process or the next. An entry that the store has taken unheard is no harm: MLflow knows a metric of the same
    name, step, value and time again.

    Args:
        uri: of the store.
        path: of the file; None keeps everything in memory.
    """

    def __init__(self, uri: str, path: Path | None = None) -> None:
        self.uri, self.path = uri, path
        self._entries: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Entries in memory and in the file."""
        return len(self._entries) + sum(1 for _ in self._kept())

    @property
    def waiting(self) -> int:
        """Entries in memory."""
        return len(self._entries)

    def put(self, **entry: Any) -> None:
        self._entries.append(entry)

    def send(self, client: "MlflowClient", run_id: str) -> None:
        """Tell the store everything.

        Raises what MLflow, SQLAlchemy and requests raise, or ConnectionError, within seconds; what was not taken is
        then kept; DiskFull if it cannot be.
        """
        try:
            if len(self):
                require_answer(self.uri)
            kept = list(self._kept())
            while kept:
                del kept[: self._send_first(kept, client, run_id)]
            if self.path:
                self.path.unlink(missing_ok=True)
            while self._entries:
                del self._entries[: self._send_first(self._entries, client, run_id)]
        except Exception:
            self.keep()
            raise

    def keep(self) -> None:
        """Put what is in memory into the file, for good.

        Raises:
            DiskFull: in one line.
        """
        if self.path is None or not self._entries:
            return
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in self._entries)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, size)  # half a line would spoil the next one
            line = f"{self.path} cannot be written ({error.strerror}), and {public(self.uri)} does not take metrics"
            raise DiskFull(error.errno, f"{line}: make room, and the same command goes on") from error
        self._entries.clear()

    def _kept(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n") if self.path else []
        except FileNotFoundError:
            return
        for line in lines[:-1]:  # a killed process may have left the last one without its end
            yield json.loads(line)

    def _send_first(self, entries: list[Mapping[str, Any]], client: "MlflowClient", run_id: str) -> int:
        """Send the first entries, as many of one kind as a call takes; says how many these were."""
        kind, alike = next(groupby(entries, key=lambda entry: next(iter(entry))))
        if kind == "artifact":
            self._send_file(entries[0], client, run_id)
            return 1
        with impatient():
            if kind == "status":
                _set_status(entries[0], client, run_id)
                return 1
            batch = [entry for entry, _ in zip(alike, range(A_CALL[kind]), strict=False)]
            client.log_batch(run_id, **{f"{kind}s": [_entity(entry) for entry in batch]})
        return len(batch)

    def _send_file(self, entry: Mapping[str, Any], client: "MlflowClient", run_id: str) -> None:
        try:
            client.log_artifact(run_id, entry["artifact"], entry["folder"])
        except Exception as error:  # a store that is there, and will not take the file, must not hold up the rest
            require_answer(self.uri)
            name = Path(entry["artifact"]).name
            warnings.warn(
                f"{public(self.uri)}: {name} could not be kept there ({one_line(error, self.uri)})", stacklevel=2
            )


def send_unsent(uri: str, run_id: str, folder: Path) -> None:
    """Send what a run that has ended could not; a store that still does not take it is warned of."""
    from mlflow.tracking import MlflowClient

    outbox = Outbox(uri, folder / UNSENT)
    if not len(outbox):
        return
    try:
        require_answer(uri)
        outbox.send(MlflowClient(uri), run_id)
    except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
        warnings.warn(f"{public(uri)}: {left(outbox)} ({one_line(error, uri)})", stacklevel=2)


def left(outbox: Outbox) -> str:
    """What has still to be sent, for a message."""
    return f"{len(outbox)} entries are not there yet: they lie in {outbox.path}, and the same command sends them"


def _set_status(entry: Mapping[str, Any], client: "MlflowClient", run_id: str) -> None:
    client.set_terminated(run_id, entry["status"], entry["timestamp"])


def _entity(entry: Mapping[str, Any]) -> Any:
    from mlflow.entities import Metric, Param, RunTag

    if "metric" in entry:
        return Metric(entry["metric"], entry["value"], entry["timestamp"], entry["step"])
    if "param" in entry:
        return Param(entry["param"], entry["value"])
    return RunTag(entry["tag"], entry["value"])
