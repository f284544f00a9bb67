import resource
import signal
import subprocess
import sys

import optuna
import pytest
from filelock import FileLock, Timeout

from hcexp.study.search.journal import JOURNAL, open_journal

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "runs" / JOURNAL


def study(journal):
    return optuna.create_study(storage=open_journal(journal), study_name="a study", load_if_exists=True)


def enter(study, number):
    study.enqueue_trial({}, user_attrs={"number": number})


def numbers(study):
    return [trial.user_attrs["number"] for trial in study.trials]


@pytest.mark.parametrize("half", ["", "{", '{"op_code":4,"worker_id":"killed","study', "x" * 10_000], ids=len)
def test_what_one_enters_all_see_and_half_a_line_swallows_nothing(journal, half):
    before = study(journal)
    enter(before, 1)
    with open(journal, "a") as file:
        file.write(half)
    assert numbers(before) == numbers(study(journal)) == [1]  # those who read pass over it
    enter(before, 2)
    enter(study(journal), 3)
    assert numbers(before) == numbers(study(journal)) == [1, 2, 3]
    journal.write_text(half)
    enter(study(journal), 1)
    assert numbers(study(journal)) == [1]


def test_a_writer_that_is_killed_holds_nobody_up(journal):
    one = study(journal)
    hold = f"import fcntl; f = open('{journal}.lock', 'a'); fcntl.flock(f, 2); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"1\n"
        with pytest.raises(Timeout):
            FileLock(f"{journal}.lock").acquire(timeout=0)
        writer.kill()
    enter(one, 1)  # Optuna's own lock would be waited for half a minute
    assert numbers(one) == [1]


def test_a_disk_without_room_is_one_line_and_loses_nothing(journal):
    one = study(journal)
    enter(one, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"studies.journal cannot be written \(File too large\): mend this"):
            enter(one, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not journal.read_text().endswith("\n")
    enter(one, 3)
    assert numbers(one) == numbers(study(journal)) == [1, 3]


def test_a_damaged_line_is_one_error_that_names_the_file(journal):
    enter(study(journal), 1)
    journal.write_text("no line of a journal\n" + journal.read_text())
    with pytest.raises(ValueError, match=r"\A.*studies.journal is damaged \(.*\): move it away.*\Z"):
        open_journal(journal)
