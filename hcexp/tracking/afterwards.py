"""What is added to a run that was recorded before: metrics, files."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hcexp.tracking.outbox import METRICS_A_CALL, as_metric
from hcexp.tracking.store import one_line, public, require_answer

if TYPE_CHECKING:
    from mlflow import MlflowClient


def add_metrics(uri: str, run_id: str, metrics: Mapping[str, float], step: int) -> bool:
    """Record metrics in an MLflow run, whose status stays as it is; says whether the store has taken them.

    Where the run was not tracked nothing happens; a store that does not take them, or has no such run, is warned of:
    what was measured must not be lost over this.
    """

    def write(client: "MlflowClient") -> None:
        now = int(time.time() * 1000)
        batch = [as_metric(name, value, now, step) for name, value in metrics.items()]
        for start in range(0, len(batch), METRICS_A_CALL):
            client.log_batch(run_id, metrics=batch[start : start + METRICS_A_CALL])

    return _add(uri, run_id, "scores", write)


def add_files(uri: str, run_id: str, files: Iterable[Path], folder: str) -> bool:
    """Keep files as artifacts of an MLflow run, in `folder` among them; otherwise as `add_metrics`."""

    def write(client: "MlflowClient") -> None:
        for path in files:
            client.log_artifact(run_id, str(path), folder)

    return _add(uri, run_id, "files", write)


def _add(uri: str, run_id: str, what: str, write: "Callable[[MlflowClient], None]") -> bool:
    if not run_id:
        return False
    from mlflow import MlflowClient

    try:
        address = urlsplit(uri)
        if address.scheme.startswith("sqlite") and not Path(address.path.removeprefix("/")).is_file():
            raise FileNotFoundError("there is no such file")  # MLflow would make an empty one
        require_answer(uri)
        write(MlflowClient(uri))
    except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
        warnings.warn(f"{public(uri)}: the {what} are not recorded there ({one_line(error, uri)})", stacklevel=3)
        return False
    return True
