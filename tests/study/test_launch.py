import os
import re
import signal
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from hcexp.run.folder import LOG
from hcexp.run.lock import RunLock
from hcexp.run.run import Run
from hcexp.study import Ledger, run_points, workers
from hcexp.study.launch import PRELOAD, launch

pytestmark = pytest.mark.slow


@pytest.fixture
def run(monkeypatch):
    """Runs points under one worker with one thread, for other tests run beside it; gives the results in their order."""
    monkeypatch.setattr(workers, "cores", lambda: 1)

    def run(planned, **watch):
        results = []
        run_points(Ledger("a study", planned), 1, ended=lambda worker, result: results.append(result), **watch)
        return results

    return run


def test_what_is_imported_for_all_runs_starts_no_thread_and_no_gpu():
    """Neither would be there in a process that is forked from it."""
    look = "import threading, torch; print(threading.active_count(), torch.cuda.is_initialized())"
    code = f"from importlib import import_module\nfor name in {PRELOAD}: import_module(name)\n{look}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_a_run_is_what_it_is_alone_and_called_as_its_label_is_written(
    points, run, minute, make_run, tracked, store_uri, tmp_path
):
    label = 'it\'s a "DHC×2", W/O {tanh} \\ $HOME = [1]'
    alone = make_run("scale=tiny", "residual=dhc", "residual.n=2", "seed=0", f"paths.runs={tmp_path / 'alone'}").train()
    minute += tracked
    (point,) = points({label: ["residual=dhc", "residual.n=2"]})
    (result,) = run([point])
    assert result["state"] == "finished", result["error"]
    name = MlflowClient(store_uri).get_run(result["run_id"]).info.run_name
    assert name == f"{label}, seed 0 · {point.run.identity[:8]}"
    assert result["identity"] == alone["identity"] == point.run.identity
    for name, value in alone["metrics"].items():
        assert result["metrics"][name] == value or name.startswith("perf/")


def test_a_run_of_two_processes(points, run, minute):
    """Lightning starts the second one from what it finds in __main__."""
    minute += ["trainer.devices=2", "data.batch_size=4"]
    (result,) = run(points({"plain": ["residual=pre_norm"]}))
    assert result["state"] == "finished", result["error"]
    assert result["steps"] == 6 and result["config"]["trainer"]["devices"] == 2


def test_a_run_that_was_killed_goes_on_from_its_checkpoint(points, run, minute):
    minute.remove("steps=6")
    (point,) = points({"a": ["steps=150", "callbacks.progress.seconds=0", "callbacks.checkpoint.every_n_steps=20"]})
    killed = []

    def checkpoints():
        return sorted((point.run.directory / "checkpoints").glob("step=*.ckpt"))

    def kill(running):
        for worker in running:
            if checkpoints() and not killed:
                killed.append(int(checkpoints()[-1].stem.removeprefix("step=")))
                os.kill(worker.process.pid, signal.SIGKILL)

    stopped, finished = run([point], changed=kill)
    assert stopped["state"] == "stopped" and "(exit status -9); it goes on from step" in stopped["error"]
    assert (finished["state"], finished["steps"]) == ("finished", 150)
    first = re.search(r"^step (\d+)/", (point.run.directory / LOG).read_text(), re.MULTILINE)
    assert int(first[1]) > killed[0]


def test_a_process_has_the_lock_and_a_group_of_its_own(points, minute):
    """Also after the one who took the lock has closed it."""
    minute.remove("steps=6")
    (point,) = points({"a": ["steps=2000"]})
    lock = RunLock.take(point.run.directory)
    log = point.run.directory / LOG
    environment = workers._environment(0, 1) | {"OMP_NUM_THREADS": "1"}
    process, go = launch(point.arguments, log, lock, environment)
    go.send(True)
    lock.close()
    assert RunLock.take(point.run.directory) is None
    while not log.exists():
        process.join(0.05)
    assert os.getpgid(process.pid) == process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    RunLock.take(point.run.directory).close()
    assert Run(point.run.config).result()["state"] == "missing"
