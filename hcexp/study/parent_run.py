"""A sweep in MLflow: a parent run, whose children are the runs of its points and which keeps its report.

Nobody here waits for a store that is away, for there are workers that would wait as well.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from omegaconf import DictConfig

from hcexp.run.folder import RunFolder
from hcexp.study.sweep.sweep import Sweep
from hcexp.tracking import open_store, public, send_unsent, store_uri
from hcexp.tracking.outbox import ERROR_TAG
from hcexp.tracking.store import impatient, one_line, require_answer

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"


class ParentRun:
    """Opens the sweep's parent run, in the store that the first of its points is recorded in.

    Where runs are not tracked nothing happens. A store that fails is warned of once and then left alone: the runs
    themselves do without.
    """

    def __init__(self, sweep: Sweep, scale: str, config: DictConfig, known: Iterable[tuple[str, str]] = ()):
        """The runs that are `known` become children, and the store is told what it missed of those that have ended."""
        self._name = f"{sweep.name}-{scale}"
        self._tags = {"sweep": self._name} | ({"table": str(sweep.table)} if sweep.table else {})
        self._known: set[str] = set()  # identities of the children
        self._runs = Path(config.paths.runs)
        self._uri = store_uri(config.tracking.uri, config.paths.runs) if "uri" in config.tracking else None
        if self._uri is None:
            return
        with self._guarded():
            open_store(self._uri, config.paths.runs, config.tracking.experiment)
            note = "\n\n".join(filter(None, (sweep.title, sweep.question)))
            self._open(config.tracking.experiment, {"scale": scale, "mlflow.note.content": note})
        for identity, label in known:
            self.adopt(identity, label)
            folder = RunFolder(self._runs / identity)
            if self._uri is not None and folder.result and folder.run_id:
                send_unsent(self._uri, folder.path)

    @impatient()
    def _open(self, experiment: str, about: Mapping[str, str]) -> None:
        """Begin the parent run, or go on with the one that is there: the oldest, if several drivers began together."""
        client = self._client()
        experiment_id = client.get_experiment_by_name(experiment).experiment_id

        def oldest() -> str | None:
            sweeps = client.search_runs([experiment_id], "tags.kind = 'sweep'", order_by=["attributes.start_time ASC"])
            return next((run.info.run_id for run in sweeps if run.data.tags["sweep"] == self._name), None)

        if (parent := oldest()) is None:
            client.create_run(experiment_id, run_name=self._name, tags={**about, **self._tags, "kind": "sweep"})
            parent = oldest()
        client.update_run(parent, status="RUNNING")
        self._id = parent

    def adopt(self, identity: str, label: str) -> None:
        """Tag a run with its row and make it a child, if it is in the store by now; of several sweeps, the newest's."""
        if self._uri is None or identity in self._known or not (child := RunFolder(self._runs / identity).run_id):
            return
        self._known.add(identity)
        with self._guarded(), impatient():
            from mlflow.entities import RunTag

            tags = {**self._tags, "row": label, PARENT: self._id}
            self._client().log_batch(child, tags=[RunTag(name, text) for name, text in tags.items()])

    def ended(self, identity: str, label: str, killed: str | None = None) -> None:
        """Follow a run to its end; `killed` is the error of one whose process could not mark it as FAILED itself."""
        self.adopt(identity, label)
        if self._uri is not None and killed and (child := RunFolder(self._runs / identity).run_id):
            with self._guarded(), impatient():
                self._client().set_tag(child, ERROR_TAG, killed[:500])
                self._client().set_terminated(child, "FAILED")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """What ends without `close` was stopped by an error, which is a failure, or by Ctrl-C or a signal."""
        if kind is not None:
            self.close("FAILED" if issubclass(kind, Exception) else "KILLED")

    def close(self, status: str, report: Path | None = None) -> None:
        """End the parent run as FINISHED, FAILED or KILLED; the files of the report become its artifact `report`."""
        if self._uri is None:
            return
        with self._guarded():
            client = self._client()
            if report is not None:
                client.log_artifacts(self._id, str(report), "report")
            with impatient():
                client.set_terminated(self._id, status)

    def _client(self) -> "MlflowClient":
        """Raises ConnectionError if the store does not answer, where MLflow would try for minutes."""
        from mlflow import MlflowClient

        require_answer(self._uri)
        return MlflowClient(self._uri)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
            reason = one_line(error, self._uri)
            warnings.warn(f"{public(self._uri)}: the sweep is not recorded there ({reason})", stacklevel=4)
            self._uri = None
