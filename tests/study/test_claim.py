import os
import signal
from multiprocessing import get_context

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState, create_trial

from hcexp.run.lock import LOCK
from hcexp.run.run import RESULT
from hcexp.study.claim import RunLock, settle_alike, take
from hcexp.study.search.journal import JOURNAL, open_journal
from hcexp.study.search.pruning import PRUNED


class Killed(Exception):
    pass


def test_one_at_a_time_is_at_a_run(tmp_path):
    lock = RunLock.take(tmp_path / "run")
    assert lock is not None and RunLock.take(tmp_path / "run") is None
    lock.close()
    with FileLock(tmp_path / "run" / LOCK):  # `hcexp train`
        assert RunLock.take(tmp_path / "run") is None
    RunLock.take(tmp_path / "run").close()


def test_a_lock_lives_as_long_as_any_process_that_has_it(tmp_path):
    lock = RunLock.take(tmp_path)
    child = get_context("fork").Process(target=signal.pause)
    child.start()
    lock.close()
    assert RunLock.take(tmp_path) is None
    child.kill()
    child.join()
    RunLock.take(tmp_path).close()


def test_a_lock_of_a_folder_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    flock = __import__("fcntl").flock

    def taken_away(fd, how):
        flock(fd, how)
        os.unlink(tmp_path / LOCK)

    monkeypatch.setattr("hcexp.study.claim.fcntl.flock", taken_away)
    assert RunLock.take(tmp_path) is None


@pytest.fixture
def entered(fakes, tmp_path):
    """A point, its study, and a trial that waits for it."""
    (point,) = fakes("a")
    study = optuna.create_study(storage=open_journal(tmp_path / "runs" / JOURNAL))
    study.enqueue_trial({}, user_attrs={"identity": "a", "attempt": 1})
    return study, point


def state(study):
    return study.trials[0].state


def test_a_claim_is_settled_with_its_result(entered):
    study, point = entered
    claim = take(study, study.trials[0], point)
    assert state(study) == TrialState.RUNNING and take(study, study.trials[0], point) is None
    claim.settle(point.run.leave("finished", loss=2.5))
    assert state(study) == TrialState.COMPLETE and study.trials[0].value == 2.5
    assert take(study, study.trials[0], point) is None
    RunLock.take(point.run.directory).close()


@pytest.mark.parametrize(("result", "expected"), [("failed", TrialState.FAIL), ("pruned", TrialState.PRUNED)])
def test_what_did_not_finish_has_its_own_state(entered, result, expected):
    study, point = entered
    take(study, study.trials[0], point).settle(point.run.leave(result, error="why"))
    assert state(study) == expected and study.trials[0].user_attrs["error"] == "why"


def test_what_is_put_back_is_no_failure(entered):
    study, point = entered
    claim = take(study, study.trials[0], point)
    point.run.leave("failed", error="SIGTERM")  # what being stopped leaves
    claim.release()
    assert state(study) == TrialState.WAITING and point.run.result()["state"] == "missing"
    assert take(study, study.trials[0], point) is not None


def die(study, point, pruned=None):
    claim = take(study, study.trials[0], point)
    if pruned:  # the run itself enters the decision
        study._storage.set_trial_user_attr(claim.trial._trial_id, PRUNED, pruned)
    claim.lock.close()  # as the kernel does
    assert state(study) == TrialState.RUNNING


def test_a_dead_workers_point_is_taken_up(entered):
    study, point = entered
    die(study, point)
    claim = take(study, study.trials[0], point)
    assert claim.attempt == 1 and len(study.trials) == 1
    claim.settle(point.run.leave("finished"))
    assert state(study) == TrialState.COMPLETE


@pytest.mark.parametrize(
    ("result", "expected"),
    [("finished", TrialState.COMPLETE), ("pruned", TrialState.PRUNED), ("failed", TrialState.FAIL)],
)
def test_a_run_that_outlived_its_driver_is_entered(entered, result, expected):
    study, point = entered
    die(study, point, pruned=4 if result == "pruned" else None)
    point.run.leave(result)
    assert take(study, study.trials[0], point) is None
    assert state(study) == expected
    RunLock.take(point.run.directory).close()


def test_a_run_that_somebody_else_finished_is_entered(entered):
    study, point = entered
    point.run.leave("finished")
    assert take(study, study.trials[0], point) is None and state(study) == TrialState.COMPLETE


@pytest.mark.parametrize("old", ["failed", "pruned"])
def test_the_result_of_an_earlier_attempt_is_nobodys(entered, old):
    """A worker that dies before its run has begun must not be thought to have left it."""
    study, point = entered
    point.run.leave(old)
    die(study, point)
    assert not (point.run.directory / RESULT).exists()
    assert take(study, study.trials[0], point) is not None


def test_a_run_that_another_study_has_pruned_goes_on(entered):
    """Also where the worker of this one was dead when that happened."""
    study, point = entered
    die(study, point)
    point.run.leave("pruned")
    claim = take(study, study.trials[0], point)
    assert claim is not None and point.run.result()["state"] == "missing"
    claim.settle(point.run.leave("finished"))
    assert state(study) == TrialState.COMPLETE


def test_what_was_pruned_as_this_trial_stays_pruned(entered):
    """The sweep was stopped between the end of the run and the entry."""
    study, point = entered
    claim = take(study, study.trials[0], point)
    study._storage.set_trial_user_attr(claim.trial._trial_id, PRUNED, 4)
    point.run.leave("pruned")
    claim.release()
    assert take(study, study.trials[0], point) is None
    assert state(study) == TrialState.PRUNED and point.run.result()["state"] == "pruned"


@pytest.mark.parametrize("writes", range(6))
def test_a_trial_ends_as_another_did_also_at_the_second_try(entered, writes, monkeypatch):
    study, _ = entered
    courses = {2: 5.0, 4: 4.5}
    attributes = {"identity": "a", "attempt": 2, PRUNED: 4}
    pruned = create_trial(state=TrialState.PRUNED, value=4.5, intermediate_values=courses, user_attrs=attributes)
    study.add_trial(pruned)
    left = iter(range(writes))

    def killed_at(write):
        def call(*arguments):
            if next(left, None) is None:
                raise Killed
            return write(*arguments)

        return call

    with monkeypatch.context() as patched, pytest.raises(Killed):
        for name in ("set_trial_user_attr", "set_trial_intermediate_value", "set_trial_state_values"):
            patched.setattr(study._storage, name, killed_at(getattr(study._storage, name)))
        settle_alike(study, *study.trials)
    assert not state(study).is_finished()
    settle_alike(study, *study.trials)
    first, second = study.trials
    assert (first.state, first.value, first.intermediate_values) == (TrialState.PRUNED, 4.5, courses)
    assert first.user_attrs == second.user_attrs


@pytest.mark.parametrize("metrics", [{}, {"local/mean/loss": float("nan")}])
def test_a_run_without_a_loss_is_worse_than_any(entered, metrics):
    study, point = entered
    claim = take(study, study.trials[0], point)
    claim.settle({"state": "finished", "error": None, "metrics": metrics})
    assert study.trials[0].value == float("inf")
