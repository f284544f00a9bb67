import math

import pytest
from mlflow import MlflowClient

from hcexp.tracking import add_metrics, history


@pytest.fixture
def ended(mlflow_template, tmp_path):
    """A store, and a run in it that has failed."""
    import shutil

    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri)
    run = client.create_run(client.get_experiment_by_name("template").experiment_id)
    client.set_terminated(run.info.run_id, "FAILED")
    return uri, run.info.run_id


def test_metrics_come_to_a_run_whose_status_stays(ended):
    uri, run_id = ended
    many = {f"v3/set {i}/loss": float(i) for i in range(1000)}
    assert add_metrics(uri, run_id, {**many, "v3/größe/perplexity": math.inf}, 7)
    run = MlflowClient(uri).get_run(run_id)
    assert run.info.status == "FAILED" and len(run.data.metrics) == 1001
    assert history(uri, run_id, "v3/set 999/loss") == [(7, 999.0)]
    assert math.isnan(run.data.metrics["v3/gr_e/perplexity"])


def test_a_run_that_was_not_tracked_is_passed_over(tmp_path):
    assert not add_metrics(f"sqlite:///{tmp_path}/mlflow.db", "", {"a": 1.0}, 1)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_store_that_does_not_take_them_is_warned_of(ended, tmp_path):
    uri, run_id = ended
    with pytest.warns(UserWarning, match=r"mlflow.db: the scores are not recorded there \(.*other"):
        assert not add_metrics(uri, "other", {"a": 1.0}, 1)
    with pytest.warns(UserWarning, match=r"none.db: the scores are not recorded there \(there is no such file\)"):
        assert not add_metrics(f"sqlite:///{tmp_path}/none.db", run_id, {"a": 1.0}, 1)
    assert not (tmp_path / "none.db").exists()
    with pytest.warns(UserWarning, match="http://127.0.0.1:9: the scores are not recorded there") as said:
        assert not add_metrics("http://me:secret@127.0.0.1:9", run_id, {"a": 1.0}, 1)
    assert "secret" not in str(said[0].message)
