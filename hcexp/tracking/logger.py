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

from hcexp.tracking.parameters import parameters
from hcexp.tracking.store import open_store, public

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FLUSH_COUNT = 900  # metrics in one call; MLflow takes 1,000
PARAMETERS_A_CALL = 100  # MLflow's limit
ERROR_TAG = "error"


class BufferedMLFlowLogger(MLFlowLogger):
    """Lightning's MLflow logger, with metrics kept in memory and written some 900 at a time.

    One call to MLflow takes 5 to 40 ms, whether it brings one metric or hundreds. The buffer is written
    when it is full, `flush_seconds` after the last time, before every checkpoint (`save`), and when the run
    ends, by an exception as well. If the store is away for a while, training goes on and the buffer waits
    for it.

    An infinite value is recorded as nan: MLflow's database would make it 1.8e308.

    Args:
        uri: the store, see `open_store`, which makes or checks it here, so that a run without one never
            starts.
        runs: folder of the runs, for the store beside them.
        experiment: name of the MLflow experiment.
        run_name: what the run is called in MLflow's pages.
        run_id: go on in this MLflow run; if the store does not have it, a new run is begun, with a
            warning.
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
        flush_seconds: float = 10.0,
        tags: Mapping[str, Any] | None = None,
        checkpoint: bool = True,
    ) -> None:
        if not flush_seconds >= 0:
            raise ValueError(f"tracking.flush_seconds must not be negative, got {flush_seconds}")
        self._buffer: list[tuple[str, float, int, int]] = []  # (name, value, milliseconds, step)
        self._flush_seconds = flush_seconds
        self._checkpoint = checkpoint
        self._flushed = time.monotonic()
        self._failing = False
        # The other ranks never write; a server's address is not opened before it is used.
        uri = open_store(uri, runs, experiment) if rank_zero_only.rank == 0 else "http://rank-zero"
        super().__init__(
            experiment_name=experiment,
            run_name=run_name,
            tracking_uri=uri,
            tags=dict(tags or {}),
            run_id=run_id,
        )
        if rank_zero_only.rank == 0 and run_id is not None:
            self._continue(run_id)

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
        from mlflow.exceptions import MlflowException

        try:
            run = self._mlflow_client.get_run(run_id)
        except MlflowException:
            run = None
        if run is None or run.info.lifecycle_stage == "deleted":
            rank_zero_warn(f"MLflow run {run_id} is not in {public(self._tracking_uri)}: a new one is begun")
            self._run_id = None
            return
        self._mlflow_client.update_run(run_id, status="RUNNING")
        if ERROR_TAG in run.data.tags:
            self._mlflow_client.delete_tag(run_id, ERROR_TAG)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take metrics into the buffer; writes it only if it is full or has waited long enough."""
        now = int(time.time() * 1000)
        step = step or 0
        for name, value in metrics.items():
            self._buffer.append(entry(name, value, now, step))
        if len(self._buffer) >= FLUSH_COUNT or time.monotonic() - self._flushed >= self._flush_seconds:
            self.flush()

    @rank_zero_only
    def flush(self) -> None:
        """Write the buffer. If the store fails, warn once and keep what was not written for the next time."""
        from mlflow.entities import Metric

        try:
            while self._buffer:
                batch = [Metric(*metric) for metric in self._buffer[:FLUSH_COUNT]]
                self.experiment.log_batch(self.run_id, metrics=batch)
                del self._buffer[:FLUSH_COUNT]
            self._failing = False
        except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
            if not self._failing:
                self._warn(f"{len(self._buffer)} metrics are kept until the MLflow store takes them", error)
            self._failing = True
        self._flushed = time.monotonic()

    def _warn(self, what: str, error: Exception) -> None:
        uri = self._tracking_uri
        reason = str(error).strip().partition("\n")[0].replace(uri, public(uri))[:200]
        rank_zero_warn(f"{public(uri)}: {what} ({type(error).__name__}: {reason})")

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Record a configuration (see `parameters`); what the run already has stays, as MLflow wants it."""
        from mlflow.entities import Param

        recorded = self.experiment.get_run(self.run_id).data.params
        new = [Param(name, text) for name, text in parameters(params).items() if name not in recorded]
        for start in range(0, len(new), PARAMETERS_A_CALL):
            self.experiment.log_batch(self.run_id, params=new[start : start + PARAMETERS_A_CALL])

    @rank_zero_only
    def log_record(self, record: Mapping[str, Any]) -> None:
        """Record what made the run (see `record`) as tags: `git.commit`, `versions.torch`, `hardware.cpu` …"""
        from mlflow.entities import RunTag

        tags = [RunTag(name, text) for name, text in parameters(record).items()]
        self.experiment.log_batch(self.run_id, tags=tags)

    @rank_zero_only
    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file with the run, in `folder` of its artifacts; a store that will not take it is warned of."""
        try:
            self.experiment.log_artifact(self.run_id, str(path), folder)
        except Exception as error:  # the run itself is done: its result must not be lost over this
            self._warn(f"{path.name} could not be kept there", error)

    def log_checkpoint(self, path: Path) -> None:
        """Keep a checkpoint with the run, if the knob says so."""
        if self._checkpoint:
            self.log_file(path, "checkpoints")

    @rank_zero_only
    def save(self) -> None:
        """Write the buffer."""
        self.flush()

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Write the buffer and end the MLflow run; Lightning calls this after an exception as well."""
        self.flush()
        if self._buffer:
            rank_zero_warn(f"{len(self._buffer)} metrics were never taken by {public(self._tracking_uri)}")
            return
        try:
            super().finalize(status)
        except Exception as error:  # the run itself is done: its result must not be lost over this
            self._warn("the MLflow run could not be closed", error)

    @rank_zero_only
    def fail(self, error: BaseException) -> None:
        """Mark the run failed, or killed if it was interrupted; the error's first line is the tag `error`."""
        self.flush()
        try:
            line = str(error).strip().partition("\n")[0]
            self.experiment.set_tag(self.run_id, ERROR_TAG, f"{type(error).__name__}: {line}"[:500])
            interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
            self.experiment.set_terminated(self.run_id, "KILLED" if interrupted else "FAILED")
        except Exception as failure:  # the first error is the one to be seen
            self._warn("the MLflow run could not be marked failed", failure)


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


@cache
def _allowed(name: str) -> str:
    return re.sub(r"[^\w/. :-]+", "_", name, flags=re.ASCII)
