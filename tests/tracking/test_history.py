import pytest

from hcexp.tracking import BufferedMLFlowLogger, history


@pytest.fixture
def recorded(logger):
    for step in (3, 1, 2):
        logger.log_metrics({"train/loss": 10.0 - step, "train/lr": 0.1}, step=step)
    logger.flush()
    return logger


def test_a_curve_comes_back_in_step_order(recorded):
    assert history(recorded.tracking_uri, recorded.run_id, "train/loss") == [(1, 9.0), (2, 8.0), (3, 7.0)]
    assert history(recorded.tracking_uri, recorded.run_id, "train/lr") == [(1, 0.1), (2, 0.1), (3, 0.1)]


def test_of_two_records_of_a_step_the_later_counts(recorded, runs, monkeypatch):
    import time

    from hcexp.tracking import logger as module

    later = time.time() + 60
    monkeypatch.setattr(module.time, "time", lambda: later)
    again = BufferedMLFlowLogger(runs=runs, run_id=recorded.run_id, flush_seconds=1000)
    # The record that counts is smaller than the first one at step 2, and larger at step 3.
    again.log_metrics({"train/loss": 1.0}, step=2)
    again.log_metrics({"train/loss": 50.0}, step=3)
    again.flush()
    assert history(again.tracking_uri, again.run_id, "train/loss") == [(1, 9.0), (2, 1.0), (3, 50.0)]


def test_what_was_never_recorded_is_empty(recorded):
    assert history(recorded.tracking_uri, recorded.run_id, "train/spikes") == []
    assert history("", "", "train/loss") == []


def test_a_store_that_is_away_costs_a_report_its_curves_only():
    with pytest.warns(UserWarning, match=r"http://127.0.0.1:9: a run's train/loss is left out \(ConnectionError\)"):
        assert history("http://user:secret@127.0.0.1:9", "a run", "train/loss") == []
