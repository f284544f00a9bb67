"""A store that is away for a while, or for good."""

import errno
import json
import os
import warnings

import pytest
from mlflow.exceptions import MlflowException

from hcexp.tracking import BufferedMLFlowLogger, send_unsent
from hcexp.tracking.outbox import UNSENT


class Store:
    """MLflow's client, whose store is away when a test says so, and says yes and hears nothing when `deaf`."""

    def __init__(self, client):
        self.client, self.away, self.attempts = client, False, 0

    def __getattr__(self, name):
        call = getattr(self.client, name)

        def answer(*args, **kwargs):
            self.attempts += 1
            if self.away == "answers late":
                call(*args, **kwargs)
            if self.away:
                raise MlflowException("API request failed\nwith a long story")
            return call(*args, **kwargs)

        return answer


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr("hcexp.tracking.logger.time.monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def tracked(runs, folder, clock, monkeypatch):
    """A logger of a run's folder, and its store."""
    logger = BufferedMLFlowLogger(runs=runs, folder=folder, flush_seconds=10)
    assert logger.run_id
    store = Store(logger.experiment)
    monkeypatch.setattr(logger, "_mlflow_client", store)
    return logger, store


def points(client, logger, name):
    return [(m.step, m.value) for m in client.get_metric_history(logger.run_id, name)]


def unsent(folder):
    path = folder / UNSENT
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("away", [True, "answers late"])
def test_what_a_store_did_not_take_lies_in_a_file_and_is_sent_once_it_is_back(tracked, client, folder, clock, away):
    logger, store = tracked
    logger.log_metrics({"a": 1.0}, 1)
    store.away = away
    with pytest.warns(UserWarning, match="1 entries are kept .*API request failed\\)$"):
        logger.save()
    clock.now += 5
    logger.log_metrics({"a": 2.0}, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # one warning is enough
        logger.save()
        assert [entry["step"] for entry in unsent(folder)] == [1, 2], "a kill must not lose them"
        clock.now += 10
        logger.log_metrics({"a": 3.0}, 3)
        store.away = False
        clock.now += 100
        logger.save()
    assert points(client, logger, "a") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert not (folder / UNSENT).exists()


def test_the_pauses_between_attempts_grow(tracked, clock):
    logger, store = tracked
    store.away = True
    tried, before = [], store.attempts
    with pytest.warns(UserWarning):
        for second in range(2000):
            clock.now += 1
            logger.log_metrics({"a": 1.0}, second)
            if store.attempts > before:
                tried.append(second)
                before = store.attempts
    assert [b - a for a, b in zip(tried, tried[1:], strict=False)][:5] == [10, 20, 40, 80, 160]
    assert max(b - a for a, b in zip(tried, tried[1:], strict=False)) <= 300


def test_they_do_so_without_a_pause_between_writes(tracked, clock):
    logger, store = tracked
    logger._flush_seconds = logger._pause = 0
    store.away, before = True, store.attempts
    with pytest.warns(UserWarning):
        for step in range(100):
            clock.now += 0.1
            logger.log_metrics({"a": 1.0}, step)
    assert 3 <= store.attempts - before <= 6  # at once, twice, after 1, 2 and 4 seconds
    store.away = False
    clock.now += 300
    logger.log_metrics({"a": 1.0}, 100)
    assert not len(logger._outbox)


@pytest.mark.parametrize("end", ["finalize", "fail", "prune"])
def test_the_end_of_a_run_comes_right_later(tracked, runs, client, folder, end):
    logger, store = tracked
    (folder / "config.yaml").write_text("seed: 0")
    store.away = True
    with pytest.warns(UserWarning, match="entries are not there yet: they lie in .*unsent.jsonl"):
        logger.log_hyperparams({"seed": 0})
        logger.log_file(folder / "config.yaml")
        logger.log_metrics({"a": 1.0}, 1)
        logger.fail(RuntimeError("broken")) if end == "fail" else logger.finalize()
        if end == "prune":
            logger.prune(1)
        logger.close()
    assert client.get_run(logger.run_id).info.status == "RUNNING"
    send_unsent(f"sqlite:///{runs / 'mlflow.db'}", logger.run_id, folder)
    run = client.get_run(logger.run_id)
    assert run.info.status == ("FAILED" if end == "fail" else "FINISHED")
    assert run.data.metrics == {"a": 1.0} and run.data.params == {"seed": "0"}
    assert run.data.tags.get("error") == ("RuntimeError: broken" if end == "fail" else None)
    assert run.data.tags.get("pruned") == ("1" if end == "prune" else None)
    assert [file.path for file in client.list_artifacts(logger.run_id)] == ["config.yaml"]
    assert not (folder / UNSENT).exists()


def test_a_run_that_goes_on_sends_what_is_left_first_and_repeats_none_of_it(tracked, runs, client, folder):
    logger, store = tracked
    logger.log_metrics({"a": 1.0}, 1)
    logger.save()
    store.away = True
    with pytest.warns(UserWarning):
        for step in (2, 3):
            logger.log_metrics({"a": float(step)}, step)
        logger.save()
    with open(folder / UNSENT, "a") as file:
        file.write('{"metric": "a", "value": 4.0, "ti')  # killed in mid-write
    again = BufferedMLFlowLogger(runs=runs, run_id=logger.run_id, folder=folder)
    assert not (folder / UNSENT).exists()
    for step in (2, 3, 4):
        again.log_metrics({"a": float(step)}, step)
    again.finalize()
    assert points(client, again, "a") == [(step, float(step)) for step in (1, 2, 3, 4)]


def test_a_server_that_is_away_is_asked_for_seconds_only(tracked, folder, monkeypatch):
    """MLflow itself would go on for minutes."""
    logger, _ = tracked
    logger.log_metrics({"a": 1.0}, 1)
    logger._outbox.uri = "http://127.0.0.1:9"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    seen = {}
    monkeypatch.setattr(logger.experiment, "log_batch", lambda *a, **k: seen.update(os.environ), raising=False)
    with pytest.warns(UserWarning, match="does not answer"):
        logger.save()
    assert not seen and len(unsent(folder)) == 1
    logger._outbox.uri = logger.tracking_uri
    logger.close()
    assert (seen["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], seen["MLFLOW_HTTP_REQUEST_TIMEOUT"]) == ("1", "5")
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_store_that_refuses_a_file_gets_the_rest(tracked, client, folder):
    logger, _ = tracked
    with pytest.warns(UserWarning, match="missing.ckpt could not be kept there"):
        logger.log_file(folder / "missing.ckpt")
    logger.log_metrics({"a": 1.0}, 1)
    logger.finalize()
    assert points(client, logger, "a") == [(1, 1.0)] and not (folder / UNSENT).exists()


def test_a_full_disk_ends_the_run_in_one_line_and_leaves_whole_lines(tracked, folder, monkeypatch):
    logger, store = tracked
    store.away = True
    logger.log_metrics({"a": 1.0}, 1)
    with pytest.warns(UserWarning):
        logger.save()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    logger.log_metrics({"a": 2.0}, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=f"{folder / UNSENT} cannot be written .*: make room") as error:
            logger.flush()
        assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
        assert len(unsent(folder)) == 1
        with pytest.warns(UserWarning, match="could not be"):
            logger.fail(error.value)  # the error itself is not lost over this
    logger._outbox.keep()
    assert [entry.get("step") for entry in unsent(folder)][:2] == [1, 2]
