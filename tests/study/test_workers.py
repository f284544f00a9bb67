import json
import os
import signal
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from hcexp.run.folder import LOG, RESULT
from hcexp.run.lock import RunLock
from hcexp.study import run_points, workers
from hcexp.study.claim import MAX_ATTEMPTS
from hcexp.study.launch import LOST, Launched
from hcexp.study.queue import Tally
from hcexp.study.workers import Worker, default_workers
from hcexp.tracking.metrics import METRICS, MetricsFile


@pytest.fixture
def launched(monkeypatch):
    """Workers fork this process, which then does what the test says in place of `hcexp train`: `does(log)`."""
    context = get_context("fork")
    script = SimpleNamespace(does=lambda log: None, seen=[])

    def body(log, ready, go):
        os.setpgrp()
        go.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            ready.recv()
            script.does(log)
        except EOFError:
            pass
        os._exit(0)

    def launch(arguments, log, lock, environment):
        assert RunLock.take(log.parent) is None  # the claim's
        script.seen.append(SimpleNamespace(arguments=arguments, log=log, environment=environment))
        ready, go = context.Pipe(duplex=False)
        process = context.Process(target=body, args=(log, ready, go))
        process.start()
        ready.close()
        return Launched(process, go)

    monkeypatch.setattr(workers, "launch", launch)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.01)
    return script


def finish(log, state="finished", **values):
    result = {"state": state, "error": None, "metrics": {"local/mean/loss": 1.0}, **values}
    (log.parent / RESULT).write_text(json.dumps(result))


def checkpoint(log, step):
    """What a run leaves on its way; gives whether it was not there before."""
    path = log.parent / "checkpoints" / f"step={step:06}.ckpt"
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    path.touch()
    return new


def run(ledger, number=1, **watch):
    """Runs what the ledger has; gives (name, state, error) of every process that ended."""
    ended = []
    run_points(ledger, number, ended=lambda w, r: ended.append((w.point.run.identity, r["state"], r["error"])), **watch)
    return ended


def test_every_point_is_run_once_so_many_at_a_time_and_they_share_the_cores(ledger, launched, monkeypatch):
    launched.does = lambda log: (time.sleep(0.05), finish(log), os._exit(1))  # whatever the exit status
    monkeypatch.setattr(workers, "cores", lambda: 8)
    monkeypatch.setenv("PYTHONPATH", "mine")
    running, slots = [], set()

    def changed(now):
        running.append(len(now))
        assert len({worker.slot for worker in now}) == len(now)
        slots.update(worker.slot for worker in now)

    assert sorted(run(ledger(*"abcdea"), 3, changed=changed)) == [(name, "finished", None) for name in "abcde"]
    assert max(running) == 3 and slots == {0, 1, 2}
    for name, one in zip("abcde", launched.seen, strict=True):
        assert one.arguments == [f"name={name}", f"++tracking.run_name='row {name}, seed 0'"]
        assert one.environment["OMP_NUM_THREADS"] == one.environment["MKL_NUM_THREADS"] == "2"
        first, *rest = one.environment["PYTHONPATH"].split(os.pathsep)
        assert os.path.isdir(os.path.join(first, "hcexp")) and rest == ["mine"]
    assert run(ledger("a", "b")) == [] and len(launched.seen) == 5


def test_gpus_are_shared_out_among_workers(monkeypatch):
    monkeypatch.setattr(workers.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [workers._environment(slot, 3)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [workers._environment(slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(2)] == ["3", "5"]
    assert workers._environment(0, 1)["CUDA_VISIBLE_DEVICES"] == "3,5"  # one run may use them all
    assert (default_workers(9), default_workers(1)) == (2, 1)


@pytest.mark.parametrize("stopped", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_signal_ends_goes_on_as_the_same_attempt_if_it_has_come_further(ledger, launched, stopped):
    """Preempted, say, or killed for a neighbour's want of memory, as often as may be."""

    def killed_on_its_way(log):
        for step in range(1, MAX_ATTEMPTS + 2):
            if checkpoint(log, step):
                if stopped == signal.SIGTERM:  # in order, with a result and an exit status
                    finish(log, "failed", error="SIGTERM")
                    os._exit(128 + stopped)
                os.kill(os.getpid(), stopped)
        finish(log)

    launched.does = killed_on_its_way
    one = ledger("a")
    ended = run(one)
    why = "SIGTERM" if stopped == signal.SIGTERM else "no output (exit status -9)"
    goes_on = [f"{why}; it goes on from step {step}" for step in range(1, MAX_ATTEMPTS + 2)]
    assert ended == [*(("a", "stopped", error) for error in goes_on), ("a", "finished", None)]
    assert [trial.user_attrs["attempt"] for trial in one._study.trials] == [1] and one.failed() == []


def test_no_progress_and_errors_are_failures_however_far_the_run_has_come_and_hurt_no_other(ledger, launched, fakes):
    def fail(log):
        if log.parent.name == "killed":  # again and again at the same step
            checkpoint(log, 1)
            os.kill(os.getpid(), signal.SIGKILL)
        elif log.parent.name == "refused":
            log.write_text("step 1/6  loss 8.1\nhcexp: error: no such knob\nbye\n")
            os._exit(3)
        elif log.parent.name == "nan":
            checkpoint(log, len(launched.seen))
            finish(log, "failed", error="loss is nan")
            os._exit(1)
        finish(log)

    launched.does = fail
    why = {"killed": "no output (exit status -9)", "nan": "loss is nan", "refused": "no such knob (exit status 3)"}
    one, ended, without_result = ledger(*why, "good"), [], {}

    def end(worker, result):
        ended.append((worker.point.run.identity, result["state"], result["error"]))
        without_result[worker.point.run.identity] = worker.killed

    run_points(one, 2, ended=end)
    failures = [(name, "failed", why[name]) for name in why for _ in range(MAX_ATTEMPTS)]
    first = ("killed", "stopped", f"{why['killed']}; it goes on from step 1")
    assert sorted(ended, key=str) == sorted([first, ("good", "finished", None), *failures], key=str)
    assert without_result == {"killed": True, "nan": False, "refused": True, "good": False}
    assert [error for _, error in one.failed()] == [*why.values()]
    left = fakes("refused")[0].run.result()  # as the run itself would have left it
    assert (left["state"], left["error"], left["seed"]) == ("failed", why["refused"], 0)
    assert left["log"] == ["step 1/6  loss 8.1", "hcexp: error: no such knob", "bye"]


def test_the_other_processes_of_a_run_do_not_outlive_the_first(ledger, launched):
    def with_another(log):
        if not (other := os.fork()):
            signal.pause()
        (log.parent / "pid").write_text(str(other))
        finish(log)

    launched.does = with_another
    run(ledger("a"))
    assert ends(launched.seen[0].log.parent / "pid")


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def ends(file):
    """Whether the process whose number is in the file ends within seconds."""
    until = time.monotonic() + 10
    with suppress(FileNotFoundError, ProcessLookupError):
        while state(file.read_text()) != "Z" and time.monotonic() < until:
            time.sleep(0.01)
    return time.monotonic() < until


def test_progress_is_read_from_what_the_process_has_recorded(fakes, trained):
    (point,) = fakes("a")
    point.run.config.steps = 6
    file = MetricsFile(point.run.directory / METRICS)
    worker = Worker(SimpleNamespace(point=point), None, 0, time.monotonic() + 1)
    assert worker.progress() == (0.0, "starting")
    file.append({"train/loss": 8.0, "perf/tokens_per_second": 12345.0}, 3)
    file.flush()
    assert worker.progress() == (0.0, "starting"), "an earlier process has recorded this"
    worker.started = time.monotonic() - 10
    assert worker.progress() == (0.5, "loss 8.000  12.3k tokens/s  0:00:10 left")
    worker.begun = 3
    file.append({"train/grad_norm/block_1": 1.0}, 4)
    file.flush()
    assert worker.progress() == (4 / 6, "loss 8.000  12.3k tokens/s  0:00:20 left")
    worker = Worker(SimpleNamespace(point=SimpleNamespace(run=trained.pre_norm)), None, 0, time.monotonic() - 9999)
    share, status = worker.progress()
    assert share == 1 and status.startswith("loss ") and status.endswith("0:00:00 left")


def test_stopping_ends_the_processes_and_puts_their_points_back(ledger, launched, monkeypatch):
    """One hears SIGTERM, one is stopped, and one, with a child, is too busy to hear."""
    monkeypatch.setattr(workers, "GRACE_SECONDS", 1.0)

    def deaf(log):
        if log.parent.name == "b":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif log.parent.name == "c":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if not (other := os.fork()):
                time.sleep(60)
            log.write_text(str(other))
        time.sleep(60)

    launched.does = deaf
    one, seen = ledger(*"abcd"), []

    def changed(running):
        seen[:] = running
        states = [state(worker.process.pid) for worker in running]
        if len(running) == 3 and states[1] == "T" and workers._tail(running[2].point.run.directory / LOG):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_points(one, 3, changed=changed)
    assert [-worker.process.exitcode for worker in seen] == [signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]
    assert ends(seen[2].point.run.directory / LOG)
    assert one.tally() == Tally(4, 0, 0)  # nothing runs, nothing has failed
    launched.does = finish
    assert [name for name, _, _ in run(one)] == [*"abcd"]
    assert {trial.user_attrs["attempt"] for trial in one._study.trials} == {1}


def test_a_process_that_nobody_knows_yet_ends_by_itself(ledger, launched, monkeypatch):
    """Between its start and the moment from which stopping would end it."""
    launch, started = workers.launch, []

    def stopped(*arguments):
        started.append(launch(*arguments).process)
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "launch", stopped)
    launched.does = lambda log: time.sleep(60)
    with pytest.raises(KeyboardInterrupt):
        run_points(ledger("a"), 1)
    started[0].join(10)
    assert started[0].exitcode == 0


def test_a_run_that_others_have_taken_is_waited_for(ledger, launched, fakes):
    mine, others = ledger("a", "b"), ledger("a", "b")
    elsewhere = others.claim()
    launched.does = finish
    waited = []

    def changed(running):
        if not running:
            waited.append(mine.tally())
            if len(waited) == 3:
                elsewhere.settle(fakes("a")[0].run.leave("finished"))

    assert run(mine, 2, changed=changed) == [("b", "finished", None)]
    assert waited[0] == Tally(2, 1, 1) and mine.done()


def test_where_the_server_of_processes_dies_its_runs_go_on_with_another(ledger, launched):
    """It is not known then whether a process has ended: its point is free when the lock is."""
    one = ledger("a")

    def changed(running):
        if len(launched.seen) == 1 and running:
            launched.does = finish
            running[0].process.join()
            running[0].process._popen.returncode = LOST

    assert run(one, changed=changed) == [("a", "finished", None)]
    assert len(launched.seen) == 2 and len(one._study.trials) == 1
