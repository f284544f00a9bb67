"""A store that is away for a while, or for good."""

import errno
import json
import os
import warnings
from itertools import pairwise

import pytest

from hcexp.tracking import send_unsent
from hcexp.tracking.metrics import METRICS, read
from hcexp.tracking.outbox import Outbox, run_id


@pytest.mark.parametrize("away", [True, "answers late"])
def test_what_a_store_did_not_take_is_sent_once_it_is_back(begin, points, folder, clock, log, away):
    logger = begin(flush_seconds=10)
    log(logger, 1)
    logger.store.away = away
    with pytest.warns(UserWarning, match=f"what it does not take is kept in {folder} .*API request failed\\)$"):
        logger.save()
    clock.now += 5
    log(logger, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # one warning is enough
        logger.save()
        assert read(folder / METRICS) == {"a": [(1, 1.0), (2, 2.0)]}, "a kill must not lose them"
        clock.now += 10
        log(logger, 3)
        logger.store.away = False
        clock.now += 100
        logger.save()
    assert points(logger, "a") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert not Outbox("", folder).waits()


@pytest.mark.parametrize(("flush", "pauses"), [(10, [10, 20, 40, 80, 160, 300]), (0, [1, 1, 2, 4, 8, 16])])
def test_the_pauses_between_attempts_grow(begin, clock, log, flush, pauses, monkeypatch):
    monkeypatch.setattr("hcexp.tracking.metrics.os.fsync", lambda descriptor: None)
    logger = begin(flush_seconds=flush)
    logger.store.away = True
    tried = {}  # the first second of every number of attempts
    with pytest.warns(UserWarning):
        for second in range(700):
            clock.now += 1
            log(logger, second)
            tried.setdefault(logger.store.attempts, second)
    tried.pop(0, None)
    assert [later - earlier for earlier, later in pairwise(tried.values())][:6] == pauses
    logger.store.away = False
    clock.now += 300
    log(logger, 700)
    assert not logger._outbox.waits()


@pytest.mark.parametrize("end", ["finalize", "fail", "prune"])
def test_the_end_of_a_run_comes_right_later(begin, uri, client, folder, end):
    logger = begin()
    (folder / "config.yaml").write_text("seed: 0")
    logger.store.away = True
    with pytest.warns(UserWarning, match=f"not all is there yet: the rest lies in {folder}, and the same command"):
        logger.tell(params={"seed": 0}, file=folder / "config.yaml")
        logger.log_metrics({"a": 1.0}, 1)
        logger.fail(RuntimeError("broken")) if end == "fail" else logger.finalize()
        if end == "prune":
            logger.tell(tags={"pruned": 1})
        logger.close()
    assert client.get_run(logger.run_id).info.status == "RUNNING"
    send_unsent(uri, folder)
    run = client.get_run(logger.run_id)
    assert run.info.status == ("FAILED" if end == "fail" else "FINISHED")
    assert run.data.metrics == {"a": 1.0} and run.data.params == {"seed": "0"}
    assert run.data.tags.get("error") == ("RuntimeError: broken" if end == "fail" else None)
    assert run.data.tags.get("pruned") == ("1" if end == "prune" else None)
    assert [file.path for file in client.list_artifacts(logger.run_id)] == ["config.yaml"]
    assert not Outbox(uri, folder).waits()


def test_a_run_that_goes_on_sends_what_is_left_first(begin, client, points, folder, log):
    logger = begin()
    logger.store.away = True
    with pytest.warns(UserWarning):
        logger.tell(tags={"late": 1})
        log(logger, 1, 2, 3)
        logger.save()
    again = begin(step=1)
    assert points(again, "a") == [(1, 1.0), (2, 2.0), (3, 3.0)] and again.run_id == logger.run_id
    assert client.get_run(again.run_id).data.tags["late"] == "1" and not Outbox("", folder).tags


def test_a_server_that_is_away_is_asked_for_seconds_only(begin, uri, folder, monkeypatch):
    """MLflow itself would go on for minutes."""
    logger = begin()
    logger.log_metrics({"a": 1.0}, 1)
    logger._outbox.uri = "http://me:secret@127.0.0.1:9"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    seen = {}
    monkeypatch.setattr(logger.store, "log_batch", lambda *a, **k: seen.update(os.environ), raising=False)
    with pytest.warns(UserWarning, match="does not answer") as said:
        logger.save()
    assert not seen and "secret" not in str(said[0].message) + (folder / "tracking.json").read_text()
    logger._outbox.uri = uri
    logger.close()
    assert (seen["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], seen["MLFLOW_HTTP_REQUEST_TIMEOUT"]) == ("1", "5")
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_full_disk_is_one_line_and_the_runs_own_error_is_not_lost_over_it(begin, folder, monkeypatch):
    logger = begin()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    logger.log_metrics({"a": 1.0}, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=f"{folder / METRICS} cannot be written .*: make room"):
            logger.save()
        with pytest.raises(OSError, match="tracking.json was not written .*: make room"):
            logger.tell(tags={"a": 1})
        with pytest.warns(UserWarning, match="cannot be written"):
            logger.fail(RuntimeError("the run's own"))
    assert read(folder / METRICS) == {}
    logger.save()
    assert read(folder / METRICS) == {"a": [(1, 1.0)]}


def test_of_a_run_that_was_not_tracked_nothing_is_sent_and_a_damaged_file_is_named_in_one_line(folder):
    assert run_id(folder) == ""
    (folder / METRICS).write_text(json.dumps({"step": 1, "time": 1, "metrics": {"a": 1.0}}) + "\n")
    send_unsent("http://127.0.0.1:9", folder)
    assert run_id(folder) == "" and not (folder / "tracking.json").exists()
    for content in ('{"run_id": "', "[]", "[" * 99999):
        (folder / "tracking.json").write_text(content)
        with pytest.raises(ValueError, match=f"^{folder / 'tracking.json'} is damaged [^\n]*: delete it[^\n]*$"):
            run_id(folder)
