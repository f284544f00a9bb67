"""One process at a run at a time, and those that belong together not in each other's way."""

import fcntl
import os
import signal
import time
from multiprocessing import get_context
from threading import Thread

import pytest
from filelock import FileLock
from lightning.pytorch.utilities import rank_zero_only

import hcexp.run.train
from hcexp.run.lock import INHERITED, LOCK, RunLock, is_held, locked


def test_a_second_process_waits_for_the_first(make_run, runs, trained, fits, capsys):
    run = make_run()
    (run.directory / "result.json").rename(run.directory / "kept")
    with FileLock(run.directory / LOCK):
        second = Thread(target=make_run().train)
        second.start()
        time.sleep(0.3)
        assert second.is_alive()
        (run.directory / "kept").rename(run.directory / "result.json")  # the first one finishes
    second.join(timeout=60)
    assert not second.is_alive() and fits == [] and run.result() == trained.pre_norm.result()
    assert "another process is at the run" in capsys.readouterr().out


def test_the_processes_of_one_run_do_not_wait_for_each_other(make_run, monkeypatch):
    run = make_run()
    run.directory.mkdir(parents=True)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # started by rank 0, which holds the lock
    monkeypatch.setattr(hcexp.run.train, "train", lambda run: "trained")
    with FileLock(run.directory / LOCK):
        assert run.train() == "trained"
    hcexp.run.train._write_json(run.directory / "result.json", {})  # only rank 0 writes
    assert not (run.directory / "result.json").exists()


def test_only_the_lock_of_this_run_is_inherited_and_it_is_neither_waited_for_nor_released(tmp_path, monkeypatch):
    held, other = RunLock.take(tmp_path / "run"), RunLock.take(tmp_path / "other")
    monkeypatch.setenv(INHERITED, str(held.fileno()))
    with locked(tmp_path / "run"):
        pass
    assert RunLock.take(tmp_path / "run") is None and (tmp_path / "run" / LOCK).exists()
    monkeypatch.setenv(INHERITED, str(other.fileno()))
    monkeypatch.setenv("WORLD_SIZE", "2")  # else it would wait
    refused = pytest.raises(ValueError, match=f"another process is at the run {tmp_path}/run: start")
    with refused, locked(tmp_path / "run"):
        pass
    for lock in (held, other):
        lock.close()


def test_what_has_come_to_nothing_leaves_nothing_and_what_was_locked_is_free(tmp_path):
    with locked(tmp_path / "empty"):
        assert is_held(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "log.txt").touch()
        child = get_context("fork").Process(target=signal.pause)
        child.start()
    RunLock.take(tmp_path / "run").close()  # though a child is left
    child.kill()
    child.join()


def test_who_asks_takes_nothing_and_makes_nothing_and_a_lock_lives_as_long_as_any_process_that_has_it(tmp_path):
    assert not is_held(tmp_path) and not list(tmp_path.iterdir())
    lock = RunLock.take(tmp_path)
    child = get_context("fork").Process(target=signal.pause)
    child.start()
    lock.close()
    assert is_held(tmp_path) and RunLock.take(tmp_path) is None
    child.kill()
    child.join()
    assert not is_held(tmp_path)
    RunLock.take(tmp_path).close()


def test_a_lock_of_a_folder_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    flock, opened = fcntl.flock, set(os.listdir("/proc/self/fd"))

    def taken_away(fd, how):
        flock(fd, how)
        os.unlink(tmp_path / LOCK)

    monkeypatch.setattr("hcexp.run.lock.fcntl.flock", taken_away)
    assert RunLock.take(tmp_path) is None
    assert set(os.listdir("/proc/self/fd")) <= opened, "it is not left open"
