import shutil

import pytest
from mlflow.tracking import MlflowClient

from hcexp.tracking import BufferedMLFlowLogger


@pytest.fixture
def runs(tmp_path, mlflow_template, monkeypatch):
    """A folder of runs with an MLflow database in it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def client(runs):
    return MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")


@pytest.fixture
def logger(runs):
    return BufferedMLFlowLogger(runs=runs, flush_seconds=1000)
