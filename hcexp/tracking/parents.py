"""A sweep in MLflow: a parent run, whose children are the runs of its points.

Nobody here waits for a store that is away, for there are workers that would wait as well.
"""

from collections.abc import Mapping
from pathlib import Path

from hcexp.tracking.outbox import ERROR_TAG
from hcexp.tracking.store import impatient, require_answer

PARENT = "mlflow.parentRunId"
NAME = "mlflow.runName"
SWEEP = "sweep"


@impatient()
def open_parent(uri: str, experiment: str, name: str, tags: Mapping[str, str]) -> str:
    """The id of the parent run called `name` in an experiment that is there (see `open_store`); begun, if it is not.

    Of drivers that begin it together, each may make one: the oldest counts.
    """
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id

    def oldest() -> str | None:
        sweeps = client.search_runs([experiment_id], "tags.kind = 'sweep'", order_by=["attributes.start_time ASC"])
        return next((run.info.run_id for run in sweeps if run.data.tags[SWEEP] == name), None)

    if (parent := oldest()) is None:
        client.create_run(experiment_id, run_name=name, tags={**tags, SWEEP: name, "kind": "sweep"})
        parent = oldest()
    client.update_run(parent, status="RUNNING")
    return parent


@impatient()
def adopt(uri: str, parent: str, run_id: str, tags: Mapping[str, str]) -> None:
    """Make a run a child of the sweep, with tags. A run that several sweeps share is a child of the newest of them."""
    from mlflow import MlflowClient
    from mlflow.entities import RunTag

    require_answer(uri)
    MlflowClient(uri).log_batch(run_id, tags=[RunTag(name, text) for name, text in {**tags, PARENT: parent}.items()])


@impatient()
def fail_run(uri: str, run_id: str, error: str) -> None:
    """Mark a run FAILED whose process was killed, and so could not do it; the error is its tag."""
    from mlflow import MlflowClient

    require_answer(uri)
    client = MlflowClient(uri)
    client.set_tag(run_id, ERROR_TAG, error[:500])
    client.set_terminated(run_id, "FAILED")


def close_parent(uri: str, parent: str, status: str, report: Path | None = None) -> None:
    """End the parent run as FINISHED, FAILED or KILLED; the files of a folder become its artifact `report`."""
    from mlflow import MlflowClient

    require_answer(uri)
    client = MlflowClient(uri)
    if report is not None:
        client.log_artifacts(parent, str(report), "report")
    with impatient():
        client.set_terminated(parent, status)
