"""Curves back out of MLflow."""

import warnings

from hcexp.tracking.store import public, require_answer


def history(uri: str, run_id: str, metric: str) -> list[tuple[int, float]]:
    """`(step, value)` of a metric in step order; empty if the run was not tracked, and, with a warning,
    if the store does not give it: a report's table needs no curve.

    Stores of earlier versions have some steps twice, of runs that went on from a checkpoint: the later record counts.
    """
    if not run_id:
        return []
    from mlflow import MlflowClient

    try:
        require_answer(uri)
        records = MlflowClient(uri).get_metric_history(run_id, metric)
    except Exception as error:  # MLflow's, SQLAlchemy's and requests' own
        warnings.warn(f"{public(uri)}: a run's {metric} is left out ({type(error).__name__})", stacklevel=2)
        return []
    by_step = {record.step: record.value for record in sorted(records, key=lambda r: r.timestamp)}
    return sorted(by_step.items())
