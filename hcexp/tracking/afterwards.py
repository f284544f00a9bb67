"""Metrics of a run that was recorded before."""

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from hcexp.tracking.logger import FLUSH_COUNT, entry
from hcexp.tracking.store import public, require_answer


def add_metrics(uri: str, run_id: str, metrics: Mapping[str, float], step: int) -> bool:
    """Record metrics in an MLflow run, whose status stays as it is; says whether the store has taken them.

    Where the run was not tracked nothing happens; a store that does not take them, or has no such run, is warned of:
    what was measured must not be lost over this.
    """
    if not run_id:
        return False
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    batch = [Metric(*entry(name, value, now, step)) for name, value in metrics.items()]
    try:
        address = urlsplit(uri)
        if address.scheme.startswith("sqlite") and not Path(address.path.removeprefix("/")).is_file():
            raise FileNotFoundError("there is no such file")  # MLflow would make an empty one
        require_answer(uri)
        client = MlflowClient(uri)
        for start in range(0, len(batch), FLUSH_COUNT):
            client.log_batch(run_id, metrics=batch[start : start + FLUSH_COUNT])
    except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
        reason = str(error).strip().partition("\n")[0].replace(uri, public(uri))[:200]
        warnings.warn(f"{public(uri)}: the scores are not recorded there ({reason})", stacklevel=2)
        return False
    return True
