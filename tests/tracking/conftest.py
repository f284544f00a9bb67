import shutil

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from hcexp.tracking.logger import MLflowLogger


@pytest.fixture(scope="session")
def runs(mlflow_template, tmp_path_factory):
    """A folder of runs with an MLflow database in it, which all tests share."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copy(mlflow_template, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def uri(runs):
    return f"sqlite:///{runs / 'mlflow.db'}"


@pytest.fixture(scope="session")
def client(uri):
    return MlflowClient(uri)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


class Store:
    """MLflow's client, whose store is `away` when a test says so: True, or "answers late" if it has heard all."""

    def __init__(self, client):
        self.client, self.away, self.attempts, self.sizes = client, False, 0, []

    def __getattr__(self, name):
        def answer(*args, **kwargs):
            self.attempts += 1
            if metrics := kwargs.get("metrics"):
                self.sizes.append(len(metrics))
            if self.away is not True:
                getattr(self.client, name)(*args, **kwargs)
            if self.away:
                raise MlflowException("API request failed\nwith a long story")

        return answer


@pytest.fixture
def begin(runs, folder):
    """Begins the run of the folder, or goes on with it; gives its logger, with a `store` that may be away."""

    def make(step=0, **knobs):
        logger = MLflowLogger(runs=runs, folder=folder, step=step, **{"flush_seconds": 1000, **knobs})
        logger.store = logger._client = Store(logger._client)
        return logger

    return make


@pytest.fixture
def log():
    """Logs `a` at each step, the step being its value."""
    return lambda logger, *steps: [logger.log_metrics({"a": float(step)}, step) for step in steps]


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr("hcexp.tracking.logger.time.monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def points(client):
    """Every `(step, value)` that MLflow has of a metric, in the order of steps."""

    def of(logger, name):
        return sorted((m.step, m.value) for m in client.get_metric_history(logger.run_id, name))

    return of
