"""Metrics into MLflow, many at a time."""

import math
import os
import re
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import DummyLogger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from hcexp.tracking.outbox import UNSENT, DiskFull, Outbox, left
from hcexp.tracking.parameters import parameters
from hcexp.tracking.store import impatient, one_line, open_store, public

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FLUSH_COUNT = 900  # metrics in one call; MLflow takes 1,000
SHORTEST_PAUSE, LONGEST_PAUSE = 1, 300  # seconds between two attempts at a store that is away
ERROR_TAG, PRUNED_TAG = "error", "pruned"


class BufferedMLFlowLogger(MLFlowLogger):
    """Lightning's MLflow logger, with metrics kept in memory and written some 900 at a time.

    One call to MLflow takes 5 to 40 ms, whether it brings one metric or hundreds. The buffer is written
    when it is full, `flush_seconds` after the last time, before every checkpoint (`save`), and when the run
    ends, by an exception as well. If the store is away for a while, training goes on: it is asked again after
    pauses that grow, each time for seconds at most, and what it has not taken lies in `folder` (see `Outbox`).

    A metric has one value a step: of a step that the store has already, as after a kill, or at the end of a
    run, where the last values come once more, nothing is written.

    An infinite value is recorded as nan: MLflow's database would make it 1.8e308.

    Args:
        uri: the store, see `open_store`, which makes or checks it here, so that a run without one never
            starts.
        runs: folder of the runs, for the store beside them.
        experiment: name of the MLflow experiment.
        run_name: what the run is called in MLflow's pages.
        run_id: go on in this MLflow run; if the store does not have it, a new run is begun, with a
            warning.
        folder: of the run, for what the store does not take; None keeps that in memory.
        flush_seconds: longest time between two writes while metrics come in.
        tags: MLflow tags of the run, e.g. `mlflow.parentRunId`.
        checkpoint: keep a copy of the last checkpoint with the run.

    Raises:
        ValueError: for a bad knob or URI.
        ConnectionError: in one line, if the store cannot be used.
    """

    def __init__(
        self,
        uri: str | None = None,
        runs: str | Path = "runs",
        experiment: str = "hcexp",
        run_name: str | None = None,
        run_id: str | None = None,
        folder: str | Path | None = None,
        flush_seconds: float = 10.0,
        tags: Mapping[str, Any] | None = None,
        checkpoint: bool = True,
    ) -> None:
        if not flush_seconds >= 0:
            raise ValueError(f"tracking.flush_seconds must not be negative, got {flush_seconds}")
        self._flush_seconds = self._pause = flush_seconds
        self._checkpoint = checkpoint
        self._flushed = time.monotonic()
        self._failing = False
        self._last: dict[str, int] = {}  # the newest step of every metric, in the store or on its way
        self._recorded: dict[str, str] = {}  # the parameters that the store has
        # The other ranks never write; a server's address is not opened before it is used.
        uri = open_store(uri, runs, experiment) if rank_zero_only.rank == 0 else "http://rank-zero"
        super().__init__(
            experiment_name=experiment,
            run_name=run_name,
            tracking_uri=uri,
            tags=dict(tags or {}),
            run_id=run_id,
        )
        self._outbox = Outbox(uri, Path(folder) / UNSENT if folder else None)
        if rank_zero_only.rank == 0 and run_id is not None:
            try:
                with impatient():
                    self._continue(run_id)
            except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
                raise ConnectionError(f"MLflow store {public(uri)} cannot be used: {one_line(error, uri)}") from error

    @property
    @rank_zero_experiment
    def experiment(self) -> "MlflowClient":
        """MLflow's client, the run begun."""
        if self._initialized:
            return self._mlflow_client
        # Lightning lets MLflow put the store into the environment, where the next run of this process would
        # take it for the user's wish.
        before = os.environ.get("MLFLOW_TRACKING_URI")
        try:
            with impatient():
                return MLFlowLogger.experiment.fget(self)
        finally:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            if before is not None:
                os.environ["MLFLOW_TRACKING_URI"] = before

    @property
    def tracking_uri(self) -> str:
        """Of the store that is used; may hold a password."""
        return self._tracking_uri

    def _continue(self, run_id: str) -> None:
        client = self._mlflow_client
        if not _active(client, run_id):
            rank_zero_warn(f"MLflow run {run_id} is not in {public(self._tracking_uri)}: a new one is begun")
            self._run_id = None
        self._outbox.send(self.experiment, self.run_id)  # what an earlier attempt could not
        data = client.get_run(self.run_id).data
        self._last = {metric.key: metric.step for metric in data.to_proto().metrics}
        self._recorded = data.params
        client.update_run(self.run_id, status="RUNNING")
        for tag in (ERROR_TAG, PRUNED_TAG):
            if tag in data.tags:
                client.delete_tag(self.run_id, tag)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take metrics into the buffer; writes it only if it is full or has waited long enough."""
        now = int(time.time() * 1000)
        step = step or 0
        for metric, value, timestamp, step in (entry(name, value, now, step) for name, value in metrics.items()):
            if step > self._last.get(metric, -1):
                self._last[metric] = step
                self._outbox.put(metric=metric, value=value, timestamp=timestamp, step=step)
        if self._outbox.waiting >= FLUSH_COUNT or time.monotonic() - self._flushed >= self._flush_seconds:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the buffer: to the store, or, while that is away, into the run's folder."""
        if self._failing and time.monotonic() - self._flushed < self._pause:
            self._outbox.keep()
        else:
            self.flush()

    @rank_zero_only
    def flush(self) -> None:
        """Write the buffer. If the store fails, warn once and keep what was not written for the next time.

        Raises:
            OSError: it cannot be kept either.
        """
        try:
            self._outbox.send(self.experiment, self.run_id)
            self._failing, self._pause = False, self._flush_seconds
        except DiskFull:
            raise
        except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
            if not self._failing:
                self._warn(f"{len(self._outbox)} entries are kept until the MLflow store takes them", error)
            else:
                self._pause = min(max(2 * self._pause, SHORTEST_PAUSE), LONGEST_PAUSE)
            self._failing = True
        self._flushed = time.monotonic()

    def _warn(self, what: str, error: Exception) -> None:
        uri = self._tracking_uri
        rank_zero_warn(f"{public(uri)}: {what} ({type(error).__name__}: {one_line(error, uri)})")

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Record a configuration (see `parameters`); what the run already has stays, as MLflow wants it."""
        for name, text in parameters(params).items():
            if name not in self._recorded:
                self._recorded[name] = text
                self._outbox.put(param=name, value=text)
        self.flush()

    @rank_zero_only
    def log_record(self, record: Mapping[str, Any]) -> None:
        """Record what made the run (see `record`) as tags: `git.commit`, `versions.torch`, `hardware.cpu` …"""
        for name, text in parameters(record).items():
            self._outbox.put(tag=name, value=text)
        self.flush()

    @rank_zero_only
    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file with the run, in `folder` of its artifacts; a store that will not take it is warned of."""
        self._outbox.put(artifact=str(Path(path).absolute()), folder=folder)
        self.flush()

    def log_checkpoint(self, path: Path) -> None:
        """Keep a checkpoint with the run, if the knob says so."""
        if self._checkpoint:
            self.log_file(path, "checkpoints")

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Write the buffer and end the MLflow run; Lightning calls this after an exception as well."""
        self._end("FAILED" if status == "failed" else "FINISHED")

    @rank_zero_only
    def prune(self, step: int) -> None:
        """Mark the run as pruned after this optimiser step: the tag `pruned`."""
        self._outbox.put(tag=PRUNED_TAG, value=str(step))
        self.flush()

    @rank_zero_only
    def fail(self, error: BaseException) -> None:
        """Mark the run failed, or killed if it was interrupted; the error's first line is the tag `error`."""
        line = str(error).strip().partition("\n")[0]
        self._outbox.put(tag=ERROR_TAG, value=f"{type(error).__name__}: {line}"[:500])
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        self._end("KILLED" if interrupted else "FAILED")
        self.close()

    @rank_zero_only
    def close(self) -> None:
        """Try once more to write everything; one line says so if the store still does not take it."""
        if len(self._outbox):
            self._try("the rest could not be written")
        if len(self._outbox):
            rank_zero_warn(f"{public(self._tracking_uri)}: {left(self._outbox)}")

    def _end(self, status: str) -> None:
        self._outbox.put(status=status, timestamp=int(time.time() * 1000))
        self._try("the MLflow run could not be ended")

    def _try(self, failed: str) -> None:
        try:
            self.flush()
        except OSError as error:  # the run's own error, or its result, must not be lost over this
            self._warn(failed, error)


class NoTracking(DummyLogger):
    """Takes what `BufferedMLFlowLogger` takes, and records nothing."""

    run_id = ""
    tracking_uri = ""

    def __init__(self, **_: Any) -> None:
        super().__init__()

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # OmegaConf, which asks whether this is a generic type, must not hear yes
            raise AttributeError(name)
        return super().__getattr__(name)


def entry(name: str, value: float, milliseconds: int, step: int) -> tuple[str, float, int, int]:
    """A metric as the store takes it."""
    value = float(value)
    return _allowed(name), math.nan if math.isinf(value) else value, milliseconds, step


def _active(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


@cache
def _allowed(name: str) -> str:
    return re.sub(r"[^\w/. :-]+", "_", name, flags=re.ASCII)
