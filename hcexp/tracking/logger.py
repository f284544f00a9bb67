"""Lightning's loggers of a run: into the metrics file of its folder, and from there into MLflow."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from hcexp.tracking.metrics import METRICS, MetricsFile
from hcexp.tracking.outbox import ERROR_TAG, LEFT, PRUNED_TAG, Outbox
from hcexp.tracking.parameters import parameters
from hcexp.tracking.store import impatient, one_line, open_store, public

if TYPE_CHECKING:
    from mlflow.entities import Run

SHORTEST_PAUSE, LONGEST_PAUSE = 1, 300  # seconds between two attempts at a store that is away


class FileLogger(Logger):
    """Records the metrics of a run in its folder's `metrics.jsonl` (see `metrics`), and nothing else.

    They are in memory until `flush_seconds` after the last time, until a checkpoint (`save` comes before each), and
    until the run ends, by an exception as well. Of several processes the first writes.

    Args:
        folder: of the run.
        step: the optimiser step that the run goes on from: later points are cut.
        flush_seconds: longest time between two writes while metrics come in.

    Raises ValueError for a bad knob, or a file of the folder that is damaged; OSError if the file cannot be written.
    """

    name = version = None  # Lightning would name folders by them

    def __init__(self, folder: str | Path, step: int = 0, flush_seconds: float = 10.0, **_: Any) -> None:
        super().__init__()
        if not flush_seconds >= 0:
            raise ValueError(f"tracking.flush_seconds must not be negative, got {flush_seconds}")
        self._flush_seconds = flush_seconds
        self._flushed = time.monotonic()
        self._outbox = Outbox("", Path(folder))
        self._file = MetricsFile(Path(folder) / METRICS)
        self._begin(step)

    @property
    def run_id(self) -> str:
        """The id of the run in MLflow; empty if it was never tracked."""
        return self._outbox.run_id

    @rank_zero_only
    def _begin(self, step: int) -> None:
        self._outbox.rewind()
        self._file.cut(step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take metrics of an optimiser step."""
        self._file.append(metrics, step or 0)
        if time.monotonic() - self._flushed >= self._flush_seconds:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write what is in memory. Raises OSError if it cannot be written."""
        self._flushed = time.monotonic()
        self._file.flush()

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Write what is in memory; Lightning calls this at the end of training, and after an exception."""
        try:
            self.save()
        except OSError as error:  # the run's own error, or its result, must not be lost over this
            rank_zero_warn(str(error))

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Leave it to `tell`: this is Lightning's own."""

    def tell(self, **_: Any) -> None:
        """Record nothing but metrics."""

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self.finalize("failed")

    def close(self) -> None:
        """End without one."""
        self.finalize()


class MLflowLogger(FileLogger):
    """Tells MLflow of a run, and its metrics from the file in its folder (see `Outbox`), many at a time.

    One call to MLflow takes 5 to 40 ms, whether it brings one metric or hundreds: it is told whenever the file is
    written. If the store is away for a while, training goes on: it is asked again after pauses that grow, each time
    for seconds at most, and what it has not taken is on the disk.

    Args:
        uri: the store, see `open_store`, which makes or checks it here, so that a run without one never starts.
        runs: folder of the runs, for the store beside them.
        experiment: name of the MLflow experiment.
        run_name: what the run is called in MLflow's pages.
        tags: MLflow tags of the run, e.g. `mlflow.parentRunId`.
        checkpoint: keep a copy of the last checkpoint with the run.
        file: of `FileLogger`; a folder that was tracked before goes on in its MLflow run, and if the store does not
            have that one, a new run is begun, with a warning.

    Raises ValueError for a bad knob or URI, and ConnectionError, in one line, if the store cannot be used.
    """

    def __init__(
        self,
        uri: str | None = None,
        runs: str | Path = "runs",
        experiment: str = "hcexp",
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        checkpoint: bool = True,
        **file: Any,
    ) -> None:
        self._checkpoint, self._store, self._run_name = checkpoint, (uri, runs, experiment), run_name
        self._tags = dict(tags or {})
        self._recorded: set[str] = set()  # names of the parameters that the store has
        self._failing = False
        super().__init__(**file)

    @rank_zero_only
    def _begin(self, step: int) -> None:
        """Open the store and the run in it, and tell what an earlier attempt could not, before anything is cut."""
        self._told, self._pause = self._flushed, self._flush_seconds
        self._outbox.uri = uri = open_store(*self._store)
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(uri)
        try:
            if run := self._run() if self._outbox.run_id else None:
                self._continue(run)
            else:
                self._outbox.run_id, self._outbox.offset, self._outbox.steps = self._create(), 0, {}
        except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
            raise ConnectionError(f"MLflow store {public(uri)} cannot be used: {one_line(error, uri)}") from error
        super()._begin(step)

    def _run(self) -> "Run | None":
        """The run that the folder was tracked in; None, with a warning, if the store does not have it."""
        from mlflow.exceptions import MlflowException

        outbox = self._outbox
        try:
            with impatient():
                run = self._client.get_run(outbox.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
        if run is None or run.info.lifecycle_stage != "active":
            rank_zero_warn(f"MLflow run {outbox.run_id} is not in {public(outbox.uri)}: a new one is begun")
            return None
        return run

    @impatient()
    def _create(self) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        experiment = self._client.get_experiment_by_name(self._store[-1]).experiment_id
        tags = resolve_tags(self._tags)  # with MLflow's own on user and source
        return self._client.create_run(experiment, run_name=self._run_name, tags=tags).info.run_id

    def _continue(self, run: "Run") -> None:
        self._recorded = {*run.data.params, *self._outbox.params}
        self._outbox.send(self._client)
        with impatient():
            self._client.update_run(run.info.run_id, status="RUNNING")
            for tag in (ERROR_TAG, PRUNED_TAG):
                if tag in run.data.tags:
                    self._client.delete_tag(run.info.run_id, tag)

    @rank_zero_only
    def save(self) -> None:
        """Write what is in memory, and tell MLflow, unless that is away and was asked a while ago."""
        super().save()
        if not self._failing or time.monotonic() - self._told >= self._pause:
            self._tell()

    def _tell(self) -> None:
        """Tell MLflow everything; if it fails, warn once and try again later. Raises OSError for a full disk."""
        self._told = time.monotonic()
        if not self._outbox.waits():
            return
        try:
            self._outbox.send(self._client)
            self._failing, self._pause = False, self._flush_seconds
        except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
            if self._failing:
                self._pause = min(max(2 * self._pause, SHORTEST_PAUSE), LONGEST_PAUSE)
            else:
                uri, why = self._outbox.uri, f"{type(error).__name__}: {one_line(error, self._outbox.uri)}"
                rank_zero_warn(f"{public(uri)}: what it does not take is kept in {self._outbox.folder} ({why})")
            self._failing = True
        self._outbox.keep()

    @rank_zero_only
    def tell(
        self,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        file: Path | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Record parameters and tags, flat (see `parameters`), a file and, if the knob says so, a checkpoint.

        A parameter that the run already has stays, as MLflow wants it; a store that will not take a file is warned of.
        """
        new = {name: text for name, text in parameters(params or {}).items() if name not in self._recorded}
        self._recorded |= new.keys()
        self._outbox.params |= new
        self._outbox.tags |= parameters(tags or {})
        if file:
            self._outbox.files.append([str(Path(file).absolute()), None])
        if checkpoint and self._checkpoint:
            self._outbox.files.append([str(Path(checkpoint).absolute()), "checkpoints"])
        self._tell()

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Write and tell everything, and end the MLflow run."""
        self._end("FAILED" if status == "failed" else "FINISHED")

    @rank_zero_only
    def fail(self, error: BaseException) -> None:
        """End the run as failed, or as killed if it was interrupted; the error's first line is the tag `error`."""
        line = str(error).strip().partition("\n")[0]
        self._outbox.tags[ERROR_TAG] = f"{type(error).__name__}: {line}"[:500]
        self._end("KILLED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAILED")
        self.close()

    @rank_zero_only
    def close(self) -> None:
        """Write and tell everything, however lately that failed; one line says so if the store does not take it."""
        self._pause = 0
        super().finalize()
        if self._outbox.waits():
            rank_zero_warn(f"{public(self._outbox.uri)}: {LEFT.format(self._outbox.folder)}")

    def _end(self, status: str) -> None:
        self._outbox.status = [status, int(time.time() * 1000)]
        super().finalize()
