import json
import os
import random
import signal
import time
from types import SimpleNamespace

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from hcexp.study import Ledger, load_sweep, plan
from hcexp.study.claim import MAX_ATTEMPTS
from tests.forked import Forked

ROWS = {"plain": ["residual=pre_norm"], "DHC×2": ["residual=dhc", "residual.n=2"]}


def written(path, rows, **content):
    rows = [{"label": label, "overrides": list(overrides)} for label, overrides in rows.items()]
    path.write_text(yaml.safe_dump({"title": "A question", "baseline": "plain", "rows": rows, **content}))
    return path


@pytest.fixture
def sweep(hcexp, minute, tmp_path):
    """Runs an own sweep of the rows {label: overrides}, one worker."""

    def call(rows, *options):
        return hcexp("sweep", written(tmp_path / "own.yaml", rows), "--workers", "1", *minute, *options)

    return call


@pytest.mark.slow
def test_a_sweep_runs_what_is_missing_and_a_failure_stops_no_other(sweep, tmp_path):
    rows = {"plain": ROWS["plain"], "broken": ["residual=shc", "optimizer.lr=1e30"], "DHC×2": ROWS["DHC×2"]}

    def made():
        return {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/checkpoints/*")}

    status, out, err = sweep(rows)
    assert status == 1
    assert "own at scale=tiny: 3 runs, 0 finished before, 1 at a time" in out
    assert "[1/3] plain, seed 0: finished" in out
    assert "[1/3] broken, seed 0: failed in 0:" in out and ", attempt 1 of 3  loss is nan" in out
    assert "[2/3] DHC×2, seed 0: finished" in out  # before the next attempt
    assert "[3/3] broken, seed 0: failed" in out and ", attempt 3 of 3  loss is nan" in out
    (line,) = [line for line in err.splitlines() if line.startswith("hcexp: failed: ")]
    assert line.startswith("hcexp: failed: broken, seed 0: loss is nan at step 2 (learning rate 1e+30)")
    assert "loss is nan" in open(line.partition("(log: ")[2].rstrip(")")).read()
    first = made()
    assert len(first) == 2

    status, out, err = sweep(rows, "--join")  # what failed for good is left to the one who mends it
    assert status == 1 and "[1/" not in out and "hcexp: failed: broken, seed 0: loss is nan" in err

    status, out, err = sweep(rows)  # only the failed one is tried again
    assert status == 1 and made() == first
    assert "3 runs, 2 finished before" in out and "[1/1] broken, seed 0: failed" in out

    status, out, err = sweep(ROWS)
    assert (status, err) == (0, "") and made() == first
    assert "2 runs, 2 finished before" in out and "[1/" not in out
    assert (tmp_path / "runs" / "reports" / "own-tiny").is_dir()


@pytest.mark.slow
def test_finished_runs_of_other_code_are_repeated_and_kept(sweep, tmp_path):
    assert sweep(ROWS)[0] == 0
    first, second = sorted((tmp_path / "runs").glob("*/result.json"))
    result = json.loads(first.read_text())
    for made_by in (result["record"], *result.get("attempts", [])):
        made_by["code"] = "of another day"
    first.write_text(json.dumps(result))
    made, kept = first.stat().st_mtime_ns, second.stat().st_mtime_ns

    assert "2 runs, 2 finished before" in sweep(ROWS)[1]
    status, out, _ = sweep(ROWS, "--rerun-stale")
    assert status == 0 and "1 finished run was made by other code" in out
    assert "2 runs, 1 finished before" in out and "[1/1]" in out
    aside = tmp_path / "runs" / "stale" / f"{first.parent.name}-1"
    assert json.loads((aside / "result.json").read_text()) == result and list((aside / "checkpoints").iterdir())
    again = json.loads(first.read_text())
    assert again["metrics"]["train/loss"] == result["metrics"]["train/loss"]
    assert first.stat().st_mtime_ns > made and second.stat().st_mtime_ns == kept
    assert "0 finished runs were made by other code" in sweep(ROWS, "--rerun-stale")[1]


def test_the_trials_of_a_search_are_not_repeated(refused, minute, tmp_path):
    search = {"knobs": {"optimizer.lr": {"low": 0.001, "high": 0.1}}, "trials": 3}
    path = written(tmp_path / "own.yaml", {"plain": ROWS["plain"]}, search=search)
    line = refused("sweep", path, "--rerun-stale", *minute)
    assert line == "--rerun-stale: own is a search, whose trials are not repeated: leave it out"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_sweep_ends_it_in_order(sweep, monkeypatch, signum):
    """The workers are ended where `run_points` is left; afterwards a signal means what it meant before."""
    left = []

    def run_points(queue, workers, **_):
        try:
            os.kill(os.getpid(), signum)
        finally:
            left.append(queue.tally().points)

    monkeypatch.setattr("hcexp.study.drive.run_points", run_points)
    before = signal.getsignal(signum)
    status, _, _ = sweep({"plain": ["residual=pre_norm"]})
    assert status == 128 + signum and left == [1]
    assert signal.getsignal(signum) is before


def test_mlflow_is_told_of_a_killed_run_and_of_a_report_that_failed(sweep, tracked, store_uri, monkeypatch):
    from hcexp.study.workers import Worker

    client, made = MlflowClient(store_uri), []

    def experiment():
        return client.get_experiment_by_name("hcexp").experiment_id

    def run_points(queue, workers, *, changed, ended):
        claim = queue.claim()
        made.append(client.create_run(experiment()).info.run_id)
        (claim.point.run.directory / "tracking.json").write_text(json.dumps({"run_id": made[0]}))
        result = {"state": "failed", "error": "no output (exit status -9)", "metrics": {}}
        claim.settle(result)
        ended(Worker(claim, None, 0, time.monotonic(), killed=True), result)
        raise KeyboardInterrupt

    def report(*_, **__):
        raise OSError("no room for the report")

    def parent():
        return client.search_runs([experiment()], "tags.kind = 'sweep'")[0].info.status

    monkeypatch.setattr("hcexp.study.drive.run_points", run_points)
    status, out, _ = sweep({"plain": ["residual=pre_norm"]}, *tracked)
    assert status == 130 and "attempt 1 of 3  no output (exit status -9)" in out
    assert (client.get_run(made[0]).info.status, parent()) == ("FAILED", "KILLED")
    monkeypatch.setattr("hcexp.study.drive.run_points", lambda *_, **__: None)
    monkeypatch.setattr("hcexp.report.publish.publish", report)
    status, _, err = sweep({"plain": ["residual=pre_norm"]}, *tracked)
    assert status != 0 and "no room for the report" in err and parent() == "FAILED"


class Drivers:
    """`hcexp sweep` in processes of its own: two rows under two seeds, in a folder of runs of their own."""

    def __init__(self, minute, folder, runs):
        self.runs, self.folder, self.started = folder / runs, folder, []
        knobs = ["steps=150", "callbacks.checkpoint.every_n_steps=10", "callbacks.progress.seconds=0"]
        self.path = written(folder / "own.yaml", ROWS, seeds=[0, 1], overrides=knobs)
        self.arguments = [*(o for o in minute if o != "steps=6"), f"paths.runs={self.runs}"]
        self.points = plan(load_sweep(self.path, folder), "tiny", self.arguments)

    def start(self, *options):
        log = self.folder / f"{self.runs.name}{len(self.started)}.txt"
        driver = Forked(["sweep", self.path, "--workers", "2", *options, *self.arguments], log)
        self.started.append(driver)
        return driver

    def begun(self):
        """Wait until a run has a checkpoint; gives the runs' processes."""
        self.until(lambda: list(self.runs.glob("*/checkpoints/*.ckpt")))
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

        def newest():
            return max((path.name for path in run.directory.glob("checkpoints/step=*.ckpt")), default=None)

        for _ in range(times):
            before = newest()
            self.until(lambda before=before: newest() != before and run.identity in self.processes())
            pid = self.processes()[run.identity]
            os.kill(pid, signal.SIGKILL)
            self.until(lambda pid=pid: self.processes().get(run.identity) != pid)
        return times

    @staticmethod
    def until(true):
        end = time.monotonic() + 120
        while not true():
            assert time.monotonic() < end
            time.sleep(0.01)

    def table(self):
        """What the report says, less what was measured of the runs' speed and memory."""
        lines = (self.runs / "reports" / "own-tiny" / "report.csv").read_text().splitlines()
        return [line for line in lines if "measured time" not in line and ",run's " not in line]

    def results(self):
        results = {point.name: point.run.result() for point in self.points}
        for result in results.values():
            result["metrics"] = {name: x for name, x in result["metrics"].items() if not name.startswith("perf/")}
        return {name: (result["state"], result["identity"], result["metrics"]) for name, result in results.items()}

    def trials(self):
        return Ledger("own at scale=tiny", self.points)._study.trials


@pytest.fixture
def drivers(minute, tmp_path):
    made = SimpleNamespace(all=[])

    def make(runs="runs"):
        made.all.append(Drivers(minute, tmp_path, runs))
        return made.all[-1]

    yield make
    for driver in [driver for each in made.all for driver in each.started]:
        driver.kill()
        driver.wait()


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
    children = psutil.Process(driver.pid).children()
    (server,) = [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
    server.kill()
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
