import pytest
from mlflow.entities import Metric

from hcexp.tracking import history


def write(client, logger, points, timestamp):
    """Records of a metric, as `(step, value)`."""
    client.log_batch(logger.run_id, metrics=[Metric("train/loss", value, timestamp, step) for step, value in points])


@pytest.fixture
def recorded(logger, client):
    write(client, logger, [(3, 7.0), (1, 9.0), (2, 8.0)], timestamp=1)
    return logger


def test_a_curve_comes_back_in_step_order(recorded):
    assert history(recorded.tracking_uri, recorded.run_id, "train/loss") == [(1, 9.0), (2, 8.0), (3, 7.0)]


def test_of_two_records_of_a_step_the_later_counts(recorded, client):
    # The record that counts is smaller than the first one at step 2, and larger at step 3.
    write(client, recorded, [(2, 1.0), (3, 50.0)], timestamp=2)
    assert history(recorded.tracking_uri, recorded.run_id, "train/loss") == [(1, 9.0), (2, 1.0), (3, 50.0)]


def test_what_was_never_recorded_is_empty(recorded):
    assert history(recorded.tracking_uri, recorded.run_id, "train/spikes") == []
    assert history("", "", "train/loss") == []


def test_a_store_that_is_away_costs_a_report_its_curves_only():
    with pytest.warns(UserWarning, match=r"http://127.0.0.1:9: a run's train/loss is left out \(ConnectionError\)"):
        assert history("http://user:secret@127.0.0.1:9", "a run", "train/loss") == []
