"""One process at a run at a time, and those that belong together not in each other's way."""

import fcntl
import time
from threading import Thread

import pytest
from filelock import FileLock
from lightning.pytorch.utilities import rank_zero_only

import hcexp.run.train
from hcexp.run.lock import INHERITED, LOCK, is_held


def test_a_second_process_waits_for_the_first(make_run, fits, capsys):
    run = make_run()
    result = run.train()
    (run.directory / "result.json").rename(run.directory / "kept")
    with FileLock(run.directory / LOCK):
        second = Thread(target=make_run().train)
        second.start()
        time.sleep(0.3)
        assert second.is_alive()
        (run.directory / "kept").rename(run.directory / "result.json")  # the first one finishes
    second.join(timeout=10)
    assert not second.is_alive() and len(fits) == 1
    assert "another process is at the run" in capsys.readouterr().out
    assert run.result() == result


def test_the_processes_of_one_run_do_not_wait_for_each_other(make_run, monkeypatch):
    run = make_run()
    run.directory.mkdir(parents=True)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # started by rank 0, which holds the lock
    monkeypatch.setattr(hcexp.run.train, "train", lambda run: "trained")
    with FileLock(run.directory / LOCK):
        assert run.train() == "trained"
    hcexp.run.train._write_json(run.directory / "result.json", {})  # only rank 0 writes
    assert not (run.directory / "result.json").exists()


def test_a_lock_that_was_inherited_is_neither_waited_for_nor_released(make_run, monkeypatch):
    run = make_run("steps=2")
    run.directory.mkdir(parents=True)
    with open(run.directory / LOCK, "w") as held, open(run.directory / LOCK) as other:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setenv(INHERITED, str(held.fileno()))
        assert run.train()["state"] == "finished"
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_of_another_run_is_not_this_ones(make_run, monkeypatch, tmp_path):
    run = make_run("steps=2")
    run.directory.mkdir(parents=True)
    monkeypatch.setenv("WORLD_SIZE", "2")  # else it would wait
    with open(tmp_path / "other", "w") as other, open(run.directory / LOCK, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setenv(INHERITED, str(other.fileno()))
        with pytest.raises(ValueError, match=f"another process is at the run {run.directory}"):
            run.train()


def test_who_asks_takes_nothing_and_makes_nothing(tmp_path):
    assert not is_held(tmp_path) and not list(tmp_path.iterdir())
    with FileLock(tmp_path / LOCK):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
