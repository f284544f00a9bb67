"""Curves back out of MLflow."""


def history(uri: str, run_id: str, metric: str) -> list[tuple[int, float]]:
    """`(step, value)` of a metric in step order; empty if the run was not tracked.

    A run that went on from a checkpoint has recorded some steps twice: the later record counts.
    """
    if not run_id:
        return []
    from mlflow import MlflowClient

    records = MlflowClient(uri).get_metric_history(run_id, metric)
    by_step = {record.step: record.value for record in sorted(records, key=lambda r: r.timestamp)}
    return sorted(by_step.items())
