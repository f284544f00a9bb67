import os
import shutil
from multiprocessing import get_context

import pytest
from optuna.trial import TrialState

from hcexp.study import Ledger
from hcexp.study.claim import ATTEMPTS, Tally


@pytest.fixture
def ledger(fakes):
    return lambda *names: Ledger("a study", fakes(*names))


def run_all(ledger, state="finished", error=None):
    """Settle whatever there is; gives the names in the order in which they were taken."""
    taken = []
    while claim := ledger.claim():
        taken.append(claim.point.run.identity)
        claim.settle(claim.point.run.leave(state, error=error))
    return taken


def test_points_are_taken_in_their_order_and_once(ledger):
    one = ledger("b", "a", "c")
    assert not one.done() and one.tally() == Tally(3, 0, 0)
    claim = one.claim()
    assert one.tally() == Tally(3, 0, 1)
    claim.settle(claim.point.run.leave("finished"))
    assert run_all(one) == ["a", "c"]
    assert one.done() and one.tally() == Tally(3, 3, 0) and one.failed() == []
    again = ledger("b", "a", "c")
    assert again.done() and again.claim() is None and len(again._study.trials) == 3


def test_a_trial_says_what_it_is_of(ledger):
    (trial,) = ledger("a")._study.trials
    assert trial.user_attrs == {
        "identity": "a", "label": "row a", "seed": 0, "overrides": ["name=a"], "attempt": 1,
    }  # fmt: skip


def test_points_that_share_a_run_share_a_trial(ledger):
    one = ledger("a", "b", "a")
    assert one.tally().points == 2 and run_all(one) == ["a", "b"]


def test_more_points_run_only_the_new_ones(ledger):
    run_all(ledger("a", "b"))
    assert run_all(ledger("a", "new", "b", "other")) == ["new", "other"]
    assert ledger("b").tally() == Tally(1, 1, 0)  # fewer are no harm


def test_what_another_command_has_finished_is_entered(fakes):
    points = fakes("a", "b")
    points[1].run.leave("finished", loss=0.5)
    one = Ledger("a study", points)
    assert one.tally() == Tally(2, 1, 0) and run_all(one) == ["a"]
    assert [trial.value for trial in one._study.trials] == [1.5, 0.5]


def test_a_finished_run_whose_folder_is_gone_runs_again(ledger, fakes):
    run_all(ledger("a", "b"))
    shutil.rmtree(fakes("a")[0].run.directory)
    assert run_all(ledger("a", "b")) == ["a"]


def test_a_failure_is_tried_again_after_the_others_and_then_left(ledger):
    one = ledger("bad", "good")
    claim = one.claim()
    claim.settle(claim.point.run.leave("failed", error="no luck"))
    claim = one.claim()
    assert claim.point.run.identity == "good"
    claim.settle(claim.point.run.leave("finished"))
    assert not one.done() and one.failed() == []
    assert run_all(one, "failed", "no luck at all") == ["bad"] * (ATTEMPTS - 1)
    assert one.done()
    assert [(point.name, error) for point, error in one.failed()] == [("row bad, seed 0", "no luck at all")]
    assert [t.user_attrs["attempt"] for t in one._study.trials if t.state == TrialState.FAIL] == [1, 2, 3]


def test_only_a_person_gives_a_failed_point_more_attempts(ledger):
    run_all(ledger("bad"), "failed", "no luck")
    joined = ledger("bad")
    assert joined.claim() is None and joined.done()
    joined.renew()
    assert joined.failed() == [] and run_all(joined, "failed", "again") == ["bad"] * ATTEMPTS
    joined.renew()
    assert run_all(joined) == ["bad"] and joined.failed() == []


def test_a_failed_point_that_another_command_finished_has_not_failed(ledger, fakes):
    run_all(ledger("a"), "failed", "no luck")
    fakes("a")[0].run.leave("finished")
    assert ledger("a").failed() == [] and ledger("a").done()


def test_an_attempt_that_was_not_entered_any_more_is(ledger):
    """A driver that dies between a failure and the next attempt leaves that to others."""
    one = ledger("a")
    claim = one.claim()
    claim.settle(claim.point.run.leave("failed", error="no luck"))
    assert ledger("a").claim().attempt == 2


def test_a_dead_worker_is_no_failure(ledger):
    one = ledger("a", "b")
    one.claim().lock.close()
    other = ledger("a", "b")
    claim = other.claim()
    assert (claim.point.run.identity, claim.attempt) == ("a", 1)
    assert other.claim().point.run.identity == "b"


def test_a_row_that_was_pruned_is_settled(ledger):
    one = ledger("a")
    run_all(one, "pruned")
    assert one.done() and one.claim() is None and one.failed() == []


def work(names, fakes, log, together):
    together.wait()
    ledger = Ledger("a study", fakes(*names))
    while not ledger.done():
        if claim := ledger.claim():
            os.write(log, f"{claim.point.run.identity}\n".encode())
            claim.settle(claim.point.run.leave("finished"))
    os._exit(0)


def test_many_processes_run_each_point_once(fakes, tmp_path):
    names = [f"{number:02}" for number in range(60)]
    log = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    context = get_context("fork")
    together = context.Barrier(4)
    workers = [context.Process(target=work, args=(names, fakes, log, together)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted((tmp_path / "log").read_text().split()) == names
    trials = Ledger("a study", fakes(*names))._study.trials
    assert len(trials) == 60 and {trial.state for trial in trials} == {TrialState.COMPLETE}
