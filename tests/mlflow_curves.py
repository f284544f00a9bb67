"""What MLflow has of a run."""

from mlflow import MlflowClient


def history(uri, run_id, metric):
    """`(step, value)` of a metric in step order, of which no step may be there twice."""
    points = sorted((m.step, m.value) for m in MlflowClient(uri).get_metric_history(run_id, metric))
    assert len({step for step, _ in points}) == len(points), f"{metric} is doubled"
    return points
