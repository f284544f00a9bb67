"""A sweep that is at work is found in its store, and one whose process has died is not."""

import multiprocessing
import time
from pathlib import Path

import pytest

from hcexp.study.drivers import FOLDER, Command, announced, at_work, is_store
from hcexp.study.search.journal import JOURNAL

FORK = multiprocessing.get_context("fork")  # a process that has to import nothing


def drive(runs, arguments, mine):
    with announced(runs, arguments):
        mine.send("there")
        mine.recv()


def look(runs, mine):
    mine.send("there")
    while True:
        at_work(runs)


@pytest.fixture
def start():
    """Starts a process with a pipe's end as its last argument; gives it and the other end, which ends it."""
    started = []

    def call(target, *arguments):
        ours, theirs = FORK.Pipe()
        started.append(FORK.Process(target=target, args=(*arguments, theirs)))
        started[-1].start()
        assert ours.recv() == "there"
        return started[-1], ours

    yield call
    for process in started:
        process.kill()
        process.join()


def test_each_sweep_is_found_once_while_somebody_is_at_it(tmp_path, start):
    assert not is_store(str(tmp_path)) and not is_store("table1") and not is_store(None)
    (tmp_path / JOURNAL).touch()
    assert is_store(str(tmp_path)) and is_store(str(tmp_path / JOURNAL))
    assert at_work(tmp_path) == []
    commands = (["table1"], ["table2", "--seeds", "0,"], ["table1"])
    first, second, third = (start(drive, tmp_path, arguments) for arguments in commands)
    here = str(Path.cwd())
    both = {Command(("table1",), here), Command(("table2", "--seeds", "0,"), here)}
    for _ in range(3):
        assert set(at_work(tmp_path)) == set(at_work(tmp_path / JOURNAL)) == both
    second[0].kill()
    second[0].join()
    assert at_work(tmp_path) == [Command(("table1",), here)]
    for left, (process, pipe) in ((1, first), (0, third)):  # the dead one was removed
        pipe.send("end")
        process.join()
        assert len(list((tmp_path / FOLDER).iterdir())) == left == len(at_work(tmp_path))


def test_who_looks_does_not_take_the_place_of_who_begins(tmp_path, start):
    for _ in range(2):
        start(look, tmp_path)
    deadline = time.monotonic() + 0.6
    while time.monotonic() < deadline:
        with announced(tmp_path, ["quick"]):
            assert [command.arguments for command in at_work(tmp_path)] == [("quick",)]
