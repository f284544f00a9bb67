import os
import shutil
from multiprocessing import get_context

from optuna.trial import TrialState

from hcexp.study import Ledger
from hcexp.study.claim import MAX_ATTEMPTS
from hcexp.study.queue import Tally


def run_all(ledger, state="finished", error=None, until=99):
    """Settle whatever there is; gives the names in the order in which they were taken."""
    taken = []
    while len(taken) < until and (claim := ledger.claim()):
        taken.append(claim.point.run.identity)
        claim.settle(claim.point.run.leave(state, error=error))
    return taken


def test_points_are_taken_in_their_order_and_once(ledger):
    one = ledger("b", "a", "c", "a")  # points that share a run share a trial
    assert not one.done() and one.tally() == Tally(3, 0, 0)
    claim = one.claim()
    assert one.tally() == Tally(3, 0, 1)
    claim.settle(claim.point.run.leave("finished"))
    assert run_all(one) == ["a", "c"]
    assert one.done() and one.tally() == Tally(3, 3, 0) and one.failed() == []
    about = {"identity": "b", "label": "row b", "seed": 0, "overrides": ["name=b"], "attempt": 1}
    assert one._study.trials[0].user_attrs == about
    again = ledger("b", "a", "c")
    assert again.done() and again.claim() is None and len(again._study.trials) == 3
    assert run_all(ledger("a", "new", "b", "other")) == ["new", "other"]
    assert ledger("b").tally() == Tally(1, 1, 0)  # fewer are no harm


def test_what_lies_on_the_disk_counts(ledger, fakes):
    bad, other = (point.run for point in fakes("bad", "other"))
    other.leave("finished", loss=0.5)  # by another command
    one = ledger("bad", "other")
    assert one.tally() == Tally(2, 1, 0) and set(run_all(one, "failed", "no luck")) == {"bad"}
    assert [trial.value for trial in one._study.trials[:2]] == [None, 0.5]
    bad.leave("finished")
    assert ledger("bad").failed() == [] and ledger("bad").done()
    shutil.rmtree(other.directory)
    assert run_all(ledger("bad", "other")) == ["other"]


def test_a_failure_is_tried_again_after_the_others_and_then_left_until_a_person_begins_anew(ledger):
    one = ledger("bad", "good")
    assert run_all(one, "failed", "no luck", until=1) == ["bad"]
    other = ledger("bad").claim()
    assert other.attempt == 2, "another driver enters it as well, where this one dies"
    other.lock.close()
    assert run_all(one, until=1) == ["good"]
    assert not one.done() and one.failed() == []
    assert run_all(one, "failed", "no luck at all") == ["bad"] * (MAX_ATTEMPTS - 1)
    assert one.done()
    assert [(point.name, error) for point, error in one.failed()] == [("row bad, seed 0", "no luck at all")]
    assert [t.user_attrs["attempt"] for t in one._study.trials if t.state == TrialState.FAIL] == [1, 2, 3]
    joined = ledger("bad")
    assert joined.claim() is None and joined.done()
    joined.renew()
    assert joined.failed() == [] and run_all(joined, "failed", "again") == ["bad"] * MAX_ATTEMPTS
    joined.renew()
    assert run_all(joined) == ["bad"] and joined.failed() == []


def test_a_dead_worker_is_no_failure_and_what_was_pruned_is_settled(ledger):
    ledger("a", "b").claim().lock.close()
    other = ledger("a", "b")
    claim = other.claim()
    assert (claim.point.run.identity, claim.attempt) == ("a", 1)
    assert run_all(other, "pruned") == ["b"]
    claim.settle(claim.point.run.leave("pruned"))
    assert other.done() and other.claim() is None and other.failed() == []


def work(names, fakes, log, together):
    together.wait()
    ledger = Ledger("a study", fakes(*names))
    while not ledger.done():
        if claim := ledger.claim():
            os.write(log, f"{claim.point.run.identity}\n".encode())
            claim.settle(claim.point.run.leave("finished"))
    os._exit(0)


def test_many_processes_run_each_point_once(fakes, tmp_path):
    names = [f"{number:02}" for number in range(30)]
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
    assert len(trials) == 30 and {trial.state for trial in trials} == {TrialState.COMPLETE}
