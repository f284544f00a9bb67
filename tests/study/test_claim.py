import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hcexp.run.lock import RunLock
from hcexp.study.claim import settle_alike, take
from hcexp.study.search.journal import JOURNAL, open_journal
from hcexp.study.search.pruning import PRUNED
from tests.study.conftest import Killed, killed_after

STATES = {"finished": TrialState.COMPLETE, "failed": TrialState.FAIL, "pruned": TrialState.PRUNED}


@pytest.fixture
def entered(fakes, tmp_path):
    """A point, its study, and a trial that waits for it."""
    (point,) = fakes("a")
    study = optuna.create_study(storage=open_journal(tmp_path / "runs" / JOURNAL))
    study.enqueue_trial({}, user_attrs={"identity": "a", "attempt": 1})
    return study, point


def state(study):
    return study.trials[0].state


@pytest.mark.parametrize("result", STATES)
def test_a_claim_is_settled_with_its_result(entered, result):
    study, point = entered
    claim = take(study, study.trials[0], point)
    assert state(study) == TrialState.RUNNING and take(study, study.trials[0], point) is None
    claim.settle(point.run.leave(result, loss=2.5, error="why"))
    trial = study.trials[0]
    assert (trial.state, trial.user_attrs["error"]) == (STATES[result], "why")
    assert trial.value == (2.5 if result == "finished" else None)
    assert take(study, trial, point) is None
    RunLock.take(point.run.directory).close()


@pytest.mark.parametrize("metrics", [{}, {"local/mean/loss": float("nan")}])
def test_a_run_without_a_loss_is_worse_than_any_and_what_somebody_else_finished_is_entered(entered, metrics):
    study, point = entered
    study.enqueue_trial({}, user_attrs={"identity": "a", "attempt": 1})
    take(study, study.trials[0], point).settle({"state": "finished", "error": None, "metrics": metrics})
    assert study.trials[0].value == float("inf")
    point.run.leave("finished")
    assert take(study, study.trials[1], point) is None and study.trials[1].state == TrialState.COMPLETE


@pytest.mark.parametrize("end", ["is killed", "is stopped"])
@pytest.mark.parametrize(
    ("earlier", "left", "as_this_trial", "ends"),
    [
        (None, None, False, False),
        ("failed", None, False, False),  # the result of an earlier attempt, or of another study's
        ("pruned", None, False, False),
        (None, "pruned", False, False),  # by another study, after this one's worker had died
        (None, "pruned", True, True),  # the run itself enters the decision
        (None, "finished", False, True),
        (None, "failed", False, True),
    ],
)
def test_a_dead_workers_point_is_taken_up_unless_its_run_has_ended(entered, end, earlier, left, as_this_trial, ends):
    """A run may outlive its driver. What a worker puts back because it is stopped is no failure."""
    study, point = entered
    if earlier:
        point.run.leave(earlier)
    claim = take(study, study.trials[0], point)
    assert point.run.result()["state"] == "missing"
    if as_this_trial:
        study._storage.set_trial_user_attr(claim.trial._trial_id, PRUNED, 4)
    if end == "is killed":
        claim.lock.close()  # as the kernel does
        assert state(study) == TrialState.RUNNING
    if left:
        point.run.leave(left, error="SIGTERM")
    if end == "is stopped":
        claim.release()
        assert state(study) == TrialState.WAITING
        ends = ends and left != "failed"  # being stopped is all that failed
    claim = take(study, study.trials[0], point)
    if ends:
        assert claim is None and state(study) == STATES[left] and point.run.result()["state"] == left
    else:
        assert claim.attempt == 1 and len(study.trials) == 1 and point.run.result()["state"] == "missing"
        claim.settle(point.run.leave("finished"))
        assert state(study) == TrialState.COMPLETE
    RunLock.take(point.run.directory).close()


@pytest.mark.parametrize("writes", range(6))
def test_a_trial_ends_as_another_did_also_at_the_second_try(entered, writes, monkeypatch):
    study, _ = entered
    courses = {2: 5.0, 4: 4.5}
    attributes = {"identity": "a", "attempt": 2, PRUNED: 4}
    pruned = create_trial(state=TrialState.PRUNED, value=4.5, intermediate_values=courses, user_attrs=attributes)
    study.add_trial(pruned)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        names = ("set_trial_user_attr", "set_trial_intermediate_value", "set_trial_state_values")
        killed_after(writes, study._storage, names, patched)
        settle_alike(study, *study.trials)
    assert not state(study).is_finished()
    settle_alike(study, *study.trials)
    first, second = study.trials
    assert (first.state, first.value, first.intermediate_values) == (TrialState.PRUNED, 4.5, courses)
    assert first.user_attrs == second.user_attrs
