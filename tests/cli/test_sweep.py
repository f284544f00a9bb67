import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import yaml
from mlflow import MlflowClient

from hcexp.study import Ledger, load_sweep, plan
from hcexp.study.claim import MAX_ATTEMPTS


@pytest.fixture
def sweep(hcexp, minute, tmp_path):
    """Runs an own sweep of the rows {label: overrides}, one worker."""

    def call(rows, *options):
        path = tmp_path / "own.yaml"
        entries = [{"label": label, "overrides": list(overrides)} for label, overrides in rows.items()]
        path.write_text(yaml.safe_dump({"title": "A question", "baseline": next(iter(rows)), "rows": entries}))
        return hcexp("sweep", path, "--workers", "1", *minute, *options)

    return call


@pytest.mark.slow
def test_a_sweep_runs_what_is_missing_and_a_failure_stops_no_other(sweep, tmp_path):
    rows = {
        "plain": ["residual=pre_norm"],
        "broken": ["residual=shc", "optimizer.lr=1e30"],
        "DHC×2": ["residual=dhc", "residual.n=2"],
    }
    status, out, err = sweep(rows)
    assert status == 1
    assert "own at scale=tiny: 3 runs, 0 finished before, 1 at a time" in out
    assert "[1/3] plain, seed 0: finished" in out
    assert "[1/3] broken, seed 0: failed in 0:" in out and ", attempt 1 of 3  loss is nan" in out
    assert "[2/3] DHC×2, seed 0: finished" in out  # before the next attempt
    assert "[3/3] broken, seed 0: failed" in out and ", attempt 3 of 3  loss is nan" in out
    (line,) = [line for line in err.splitlines() if line.startswith("hcexp: failed: ")]
    assert line.startswith("hcexp: failed: broken, seed 0: loss is nan at step 2 (learning rate 1e+30)")
    log = line.partition("(log: ")[2].rstrip(")")
    assert "loss is nan" in open(log).read()
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/checkpoints/*")}
    assert len(made) == 2

    status, out, err = sweep(rows, "--join")  # what failed for good is left to the one who mends it
    assert status == 1 and "[1/" not in out and "hcexp: failed: broken, seed 0: loss is nan" in err

    status, out, err = sweep(rows)  # only the failed one is tried again
    assert status == 1
    assert "3 runs, 2 finished before" in out and "[1/1] broken, seed 0: failed" in out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/checkpoints/*")} == made

    status, out, err = sweep({label: own for label, own in rows.items() if label != "broken"})
    assert (status, err) == (0, "")
    assert "2 runs, 2 finished before" in out and "[1/" not in out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/checkpoints/*")} == made
    assert (tmp_path / "runs" / "reports" / "own-tiny").is_dir()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_sweep_ends_it_in_order(sweep, monkeypatch, signum):
    """The workers are ended where `run_points` is left; afterwards a signal means what it meant before."""
    import hcexp.study

    left = []

    def run_points(source, workers, **_):
        try:
            os.kill(os.getpid(), signum)
        finally:
            left.append(source.tally().points)

    monkeypatch.setattr(hcexp.study, "run_points", run_points)
    before = signal.getsignal(signum)
    status, _, _ = sweep({"plain": ["residual=pre_norm"]})
    assert status == 128 + signum and left == [1]
    assert signal.getsignal(signum) is before


def test_a_run_whose_process_was_killed_is_not_left_running(sweep, tracked, store_uri, monkeypatch):
    import hcexp.study
    from hcexp.study.workers import Worker

    client = MlflowClient(store_uri)
    made = []

    def run_points(source, workers, *, changed, ended):
        claim = source.claim()
        made.append(client.create_run(client.get_experiment_by_name("hcexp").experiment_id).info.run_id)
        (claim.point.run.directory / "tracking.json").write_text(json.dumps({"run_id": made[0]}))
        result = {"state": "failed", "error": "no output (exit status -9)", "metrics": {}, "log": []}
        claim.settle(result)
        ended(Worker(claim, None, 0, time.monotonic()), result)
        raise KeyboardInterrupt

    monkeypatch.setattr(hcexp.study, "run_points", run_points)
    status, out, _ = sweep({"plain": ["residual=pre_norm"]}, *tracked)
    assert status == 130 and "attempt 1 of 3  no output (exit status -9)" in out
    assert client.get_run(made[0]).info.status == "FAILED"


def test_a_report_that_cannot_be_made_does_not_leave_the_sweep_running(sweep, tracked, store_uri, monkeypatch):
    import hcexp.cli.report
    import hcexp.study

    def report(*_):
        raise OSError("no room for the report")

    monkeypatch.setattr(hcexp.study, "run_points", lambda *_, **__: None)
    monkeypatch.setattr(hcexp.cli.report, "report", report)
    status, _, err = sweep({"plain": ["residual=pre_norm"]}, *tracked)
    assert status != 0 and "no room for the report" in err
    (experiment,) = (e for e in MlflowClient(store_uri).search_experiments() if e.name == "hcexp")
    (parent,) = MlflowClient(store_uri).search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    assert parent.info.status == "FAILED"


@pytest.mark.slow
def test_finished_runs_of_other_code_are_repeated_and_kept(sweep, tmp_path):
    rows = {"plain": ["residual=pre_norm"], "DHC×2": ["residual=dhc", "residual.n=2"]}
    assert sweep(rows)[0] == 0
    first, second = sorted((tmp_path / "runs").glob("*/result.json"))
    result = json.loads(first.read_text())
    for made_by in (result["record"], *result.get("attempts", [])):
        made_by["code"] = "of another day"
    first.write_text(json.dumps(result))
    made, kept = first.stat().st_mtime_ns, second.stat().st_mtime_ns

    assert "2 runs, 2 finished before" in sweep(rows)[1]
    status, out, _ = sweep(rows, "--rerun-stale")
    assert status == 0 and "1 finished run was made by other code" in out
    assert "2 runs, 1 finished before" in out and "[1/1]" in out
    aside = tmp_path / "runs" / "stale" / f"{first.parent.name}-1"
    assert json.loads((aside / "result.json").read_text()) == result and list((aside / "checkpoints").iterdir())
    again = json.loads(first.read_text())
    assert again["metrics"]["train/loss"] == result["metrics"]["train/loss"]
    assert first.stat().st_mtime_ns > made and second.stat().st_mtime_ns == kept
    assert "0 finished runs were made by other code" in sweep(rows, "--rerun-stale")[1]


def test_the_trials_of_a_search_are_not_repeated(refused, minute, tmp_path):
    line = refused("sweep", "tune_lr", "--rerun-stale", *minute)
    assert line == "--rerun-stale: tune_lr is a search, whose trials are not repeated: leave it out"
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def drivers(minute, tmp_path):
    """Starts `hcexp sweep` in processes of their own: two rows under two seeds, in a folder of runs of their own."""
    minute.remove("steps=6")
    knobs = ["steps=150", "callbacks.checkpoint.every_n_steps=20", "callbacks.progress.seconds=0"]
    rows = [
        {"label": "plain", "overrides": ["residual=pre_norm"]},
        {"label": "DHC×2", "overrides": ["residual=dhc", "residual.n=2"]},
    ]
    path = tmp_path / "own.yaml"
    content = {"title": "A question", "baseline": "plain", "seeds": [0, 1], "overrides": knobs, "rows": rows}
    path.write_text(yaml.safe_dump(content))
    started = []

    class Drivers:
        def __init__(self, runs="runs"):
            self.runs = tmp_path / runs
            self.arguments = [*minute, f"paths.runs={self.runs}"]
            self.points = plan(load_sweep(path, tmp_path), "tiny", self.arguments)

        def start(self, *options):
            command = [sys.executable, "-m", "hcexp", "sweep", path, "--workers", "2", *options, *self.arguments]
            log = (tmp_path / f"driver{len(started)}.txt").open("w+")
            # What is started in the background of a script ignores Ctrl-C, and so do its children.
            heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=heard))
            started[-1].said = lambda: (tmp_path / log.name).read_text()
            return started[-1]

        def begun(self, checkpoints=1):
            """Wait until so many runs have a checkpoint; gives the runs' processes."""
            until = time.monotonic() + 120
            while len({p.parent for p in self.runs.glob("*/checkpoints/*.ckpt")}) < checkpoints:
                assert time.monotonic() < until
                time.sleep(0.02)
            return self.processes()

        def processes(self):
            """Of the runs: those that have one of the runs' logs open, by the run's identity."""
            found = {}
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    output = os.readlink(f"/proc/{pid}/fd/1")
                except OSError:
                    continue
                if output.startswith(str(self.runs)) and output.endswith("/log.txt"):
                    found[output.split("/")[-2]] = int(pid)
            return found

        def kill_one(self, times):
            """Kill the process of the first run so often, each time that it has come to a newer checkpoint."""
            run = self.points[0].run
            for _ in range(times):
                before, until = self.checkpoint(run), time.monotonic() + 120
                while self.checkpoint(run) == before or run.identity not in self.processes():
                    assert time.monotonic() < until
                    time.sleep(0.01)
                pid = self.processes()[run.identity]
                os.kill(pid, signal.SIGKILL)
                while self.processes().get(run.identity) == pid:
                    time.sleep(0.01)
            return times

        @staticmethod
        def checkpoint(run):
            """The newest one's name."""
            return max((path.name for path in run.directory.glob("checkpoints/step=*.ckpt")), default=None)

        def table(self):
            """What the report says of every validation set, in which the runs' speed has no part."""
            return (self.runs / "reports" / "own-tiny" / "report-sets.csv").read_text()

        def results(self):
            return {point.name: _reproducible(point.run.result()) for point in self.points}

        def trials(self):
            return Ledger("own at scale=tiny", self.points)._study.trials

    yield Drivers
    for driver in started:
        driver.kill()
        driver.wait()


def _reproducible(result):
    metrics = {name: value for name, value in result["metrics"].items() if not name.startswith("perf/")}
    return result["state"], result["identity"], metrics


@pytest.mark.slow
def test_two_sweeps_at_once_run_everything_once(drivers):
    one = drivers()
    both = [one.start(), one.start("--join")]
    assert [driver.wait(300) for driver in both] == [0, 0], both[0].said() + both[1].said()
    ended = [line for driver in both for line in driver.said().splitlines() if ": finished in" in line]
    assert sorted(line.partition("] ")[2].partition(":")[0] for line in ended) == sorted(p.name for p in one.points)
    assert len(one.trials()) == 4
    assert all("plain" in driver.said() and "DHC×2" in driver.said() for driver in both)  # both report


@pytest.mark.slow
def test_a_run_outlives_its_driver_and_another_driver_enters_it(drivers):
    one = drivers()
    first = one.start()
    children = one.begun()
    first.kill()
    first.wait()
    assert one.processes(), "the runs go on"
    second = one.start()
    assert second.wait(300) == 0, second.said()
    assert len(one.trials()) == 4 and {trial.user_attrs["attempt"] for trial in one.trials()} == {1}
    assert set(children) <= {point.run.identity for point in one.points}


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_driver_that_is_stopped_ends_its_runs_and_none_has_failed(drivers, signum):
    one = drivers()
    first = one.start()
    one.begun()
    first.send_signal(signum)
    assert first.wait(60) == 128 + signum
    assert one.processes() == {}
    assert {result[0] for result in one.results().values()} <= {"missing", "finished"}
    assert {trial.state.name for trial in one.trials()} <= {"WAITING", "COMPLETE"}


@pytest.mark.slow
def test_a_sweep_goes_on_with_another_server_of_processes(drivers):
    one = drivers()
    driver = one.start()
    one.begun()
    children = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(driver.pid)], capture_output=True, text=True)
    (server,) = [line.split()[0] for line in children.stdout.splitlines() if "forkserver" in line]
    os.kill(int(server), signal.SIGKILL)
    assert driver.wait(300) == 0, driver.said()
    assert {result[0] for result in one.results().values()} == {"finished"}
    assert len(one.trials()) == 4, "it is nobody's failure"


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_ends_like_an_undisturbed_one(drivers):
    quiet, killed = drivers("quiet"), drivers("killed")
    assert quiet.start().wait(300) == 0
    draw = random.Random(0)
    driver = killed.start()
    kills = killed.kill_one(2 * MAX_ATTEMPTS - 1)  # of one run, under a driver that lives
    for _ in range(6):
        while driver.poll() is None and not killed.processes():
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 3))
        victims = list(killed.processes().values())
        for pid in draw.sample(victims, draw.randint(0, len(victims))):
            os.kill(pid, signal.SIGKILL)
            kills += 1
        if victims:  # with its driver, for without a newer checkpoint it would be a failed attempt
            driver.kill()
            driver.wait()
            driver = killed.start(*draw.choice([[], ["--join"]]))
    assert driver.wait(300) == 0, driver.said()
    assert kills > MAX_ATTEMPTS and killed.results() == quiet.results()
    assert {state for state, _, _ in killed.results().values()} == {"finished"}
    assert [killed.table(), len(killed.trials())] == [quiet.table(), 4], "no attempt was counted"
