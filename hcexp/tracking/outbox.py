"""What an MLflow run has been told of a run's folder, and what it still has to be told."""

import json
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcexp.disk.atomic import write_json
from hcexp.tracking.metrics import METRICS, lines
from hcexp.tracking.store import impatient, one_line, public, require_answer

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

TRACKING = "tracking.json"  # in the run's folder
METRICS_A_CALL, TEXTS_A_CALL = 900, 100  # MLflow takes 1,000 metrics, 100 parameters, 100 tags
ERROR_TAG, PRUNED_TAG = "error", "pruned"
LEFT = "not all is there yet: the rest lies in {}, and the same command sends it"


class Outbox:
    """Tells an MLflow run the metrics in a run's file, and what else is put in here, be it much later.

    `tracking.json` in the run's folder has the id of the MLflow run, how many bytes of the metrics file the store has
    taken, the last step of every metric that it has, and the parameters, tags, files and status that it has not. It is
    written after the store has taken, or refused, something. What a process killed in between has sent is sent again
    from the same line of the file, and MLflow knows a metric of the same name, step, value and time again.

    Of a step that the store has, a metric is not sent again: not after the file was cut, not at the end of a run.
    Raises ValueError, in one line, if `tracking.json` is damaged.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        self.uri, self.folder = uri, folder
        told = _told(folder)
        self.run_id: str = told.get("run_id") or ""  # who sets another one, sets offset and steps
        self.offset: int = told.get("offset", 0)
        self.steps: dict[str, int] = told.get("steps", {})
        self.params: dict[str, str] = told.get("params", {})
        self.tags: dict[str, str] = told.get("tags", {})
        self.files: list[list[str | None]] = told.get("files", [])  # path, and the folder among the artifacts
        self.status: list[Any] | None = told.get("status")  # and milliseconds since 1970

    def waits(self) -> bool:
        """Whether there is something on the disk or in here that the store has not taken."""
        metrics = self.folder / METRICS
        unsent = metrics.is_file() and metrics.stat().st_size > self.offset
        return bool(unsent or self.params or self.tags or self.files or self.status)

    def rewind(self) -> None:
        """Look through the metrics file from its start, which must be called before lines are cut out of it."""
        if self.offset:
            self.offset = 0
            self.keep()

    def keep(self) -> None:
        """Write `tracking.json`, for good. Raises OSError in one line."""
        state = {name: value for name, value in vars(self).items() if name not in ("uri", "folder") and value}
        write_json(self.folder / TRACKING, state)

    def send(self, client: "MlflowClient") -> None:
        """Tell the store everything; whatever comes of it is to be kept (see `keep`).

        Raises what MLflow, SQLAlchemy and requests raise, or ConnectionError, within seconds.
        """
        require_answer(self.uri)
        self._send_metrics(client)
        self._send_texts(client)
        while self.files:
            self._send_file(client, *self.files[0])
            del self.files[0]
        if self.status:
            with impatient():
                client.set_terminated(self.run_id, *self.status)
            self.status = None

    def _send_metrics(self, client: "MlflowClient") -> None:
        batch: list[Metric] = []
        steps, end = dict(self.steps), self.offset
        for end, line in lines(self.folder / METRICS, self.offset):
            for name, value in line.metrics.items():
                if line.step > steps.get(name, -1):
                    steps[name] = line.step
                    batch.append(as_metric(name, value, line.time, line.step))
            if len(batch) >= METRICS_A_CALL:
                self._log(client, batch, steps, end)
                batch = []
        self._log(client, batch, steps, end)

    def _log(self, client: "MlflowClient", batch: "list[Metric]", steps: Mapping[str, int], end: int) -> None:
        for start in range(0, len(batch), METRICS_A_CALL):
            with impatient():
                client.log_batch(self.run_id, metrics=batch[start : start + METRICS_A_CALL])
        self.steps, self.offset = dict(steps), end

    def _send_texts(self, client: "MlflowClient") -> None:
        from mlflow.entities import Param, RunTag

        while self.params or self.tags:
            params, tags = (list(texts.items())[:TEXTS_A_CALL] for texts in (self.params, self.tags))
            with impatient():
                client.log_batch(self.run_id, params=[Param(*p) for p in params], tags=[RunTag(*t) for t in tags])
            for texts, sent in ((self.params, params), (self.tags, tags)):
                for name, _ in sent:
                    del texts[name]

    def _send_file(self, client: "MlflowClient", path: str, folder: str | None) -> None:
        try:
            client.log_artifact(self.run_id, path, folder)
        except Exception as error:  # a store that is there, and will not take the file, must not hold up the rest
            require_answer(self.uri)
            why = one_line(error, self.uri)
            warnings.warn(f"{public(self.uri)}: {Path(path).name} could not be kept there ({why})", stacklevel=2)


def run_id(folder: Path) -> str:
    """The id of a run in MLflow, by its folder; empty if it was never tracked. Raises ValueError as `Outbox` does."""
    return _told(folder).get("run_id") or ""


def send_unsent(uri: str, folder: Path) -> None:
    """Send what a run that has ended could not; a store that still does not take it is warned of."""
    outbox = Outbox(uri, folder)
    if not outbox.run_id or not outbox.waits():
        return
    from mlflow.tracking import MlflowClient

    try:
        outbox.send(MlflowClient(uri))
        outbox.keep()
    except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
        warnings.warn(f"{public(uri)}: {LEFT.format(folder)} ({one_line(error, uri)})", stacklevel=2)


def as_metric(name: str, value: float, milliseconds: int, step: int) -> "Metric":
    """A metric as the store takes it; an infinite value is nan, as MLflow's database would make it 1.8e308."""
    from mlflow.entities import Metric

    allowed = re.sub(r"[^\w/. :-]+", "_", name, flags=re.ASCII)
    return Metric(allowed, math.nan if math.isinf(value) else float(value), milliseconds, step)


def _told(folder: Path) -> Mapping[str, Any]:
    path = folder / TRACKING
    try:
        told, why = json.loads(path.read_text()), "it has no run_id"
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        told, why = None, str(error)
    if not isinstance(told, dict):
        raise ValueError(f"{path} is damaged ({why}): delete it, and the run is recorded anew")
    return told
