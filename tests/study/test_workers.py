import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from hcexp.study import run_points, workers
from hcexp.study.workers import Worker, default_workers


@pytest.fixture
def commands(monkeypatch):
    """Workers run what the test gives in place of `hcexp train`; the command lines that they were to run."""
    seen, popen = [], workers.subprocess.Popen

    def start(command, **knobs):
        seen.append((command, knobs))
        return popen([sys.executable, "-c", seen_script[0]], **knobs)

    seen_script = ["pass"]
    monkeypatch.setattr(workers.subprocess, "Popen", start)
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.01)
    return SimpleNamespace(seen=seen, run=lambda script: seen_script.__setitem__(0, script))


def test_a_label_reaches_mlflow_as_it_is_written(points, minute, tracked, store_uri, monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)  # other tests run beside it
    label = 'it\'s a "DHC×2", W/O {tanh} \\ $HOME = [1]'
    minute += tracked
    (point,) = points({label: ["residual=dhc", "residual.n=2"]})
    ended = []
    run_points([point], 1, ended=lambda worker, result: ended.append(result))
    (result,) = ended
    assert result["state"] == "finished", result["error"]
    run = MlflowClient(store_uri).get_run(result["run_id"])
    assert run.info.run_name == f"{label}, seed 0"
    assert result["identity"] == point.run.identity


def test_rows_that_share_a_run_make_it_once(points, commands):
    planned = points({"a": ["residual=pre_norm"], "b": ["residual=pre_norm"], "c": ["residual=shc"]})
    ended = []
    run_points(planned, 2, ended=lambda worker, result: ended.append(worker.point.row.label))
    assert len(commands.seen) == 2
    assert len(ended) == 2 and "c" in ended


def test_no_more_than_so_many_run_at_a_time(points, commands):
    commands.run("import time; time.sleep(0.1)")
    planned = points({str(k): ["residual=shc", f"residual.n={k}"] for k in range(1, 6)})
    running, slots = [], set()

    def changed(now):
        running.append(len(now))
        assert len({worker.slot for worker in now}) == len(now)
        slots.update(worker.slot for worker in now)

    run_points(planned, 2, changed=changed)
    assert max(running) == 2 and slots == {0, 1}
    assert len(commands.seen) == 5


def test_the_cores_are_shared_out_and_the_package_is_found(points, commands, monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 8)
    monkeypatch.setenv("PYTHONPATH", "mine")
    planned = points({str(k): ["residual=shc", f"residual.n={k}"] for k in range(1, 4)})
    run_points(planned, 3)
    for command, knobs in commands.seen:
        assert command[1:4] == ["-m", "hcexp", "train"]
        assert knobs["env"]["OMP_NUM_THREADS"] == knobs["env"]["MKL_NUM_THREADS"] == "2"
        first, *rest = knobs["env"]["PYTHONPATH"].split(os.pathsep)
        assert os.path.isdir(os.path.join(first, "hcexp")) and rest == ["mine"]


def test_gpus_are_shared_out_among_workers(monkeypatch):
    monkeypatch.setattr(workers.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [workers._environment(slot, 3)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [workers._environment(slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(2)] == ["3", "5"]
    assert workers._environment(0, 1)["CUDA_VISIBLE_DEVICES"] == "3,5"  # one run may use them all
    assert (default_workers(9), default_workers(1)) == (2, 1)


def test_a_worker_that_leaves_no_result_is_a_failure_that_quotes_its_log(points, commands):
    commands.run("print('step 1/6  loss 8.1'); print('hcexp: error: no such knob'); print('bye'); raise SystemExit(3)")
    planned = points({"a": ["residual=pre_norm"]})
    results = []
    run_points(planned, 1, ended=lambda worker, result: results.append(result))
    assert [(r["state"], r["error"]) for r in results] == [("failed", "no such knob (exit status 3)")]
    commands.run("raise SystemExit(4)")
    run_points(planned, 1, ended=lambda worker, result: results.append(result))
    assert results[-1]["error"] == "no output (exit status 4)"


def test_a_killed_worker_is_reported_and_a_rerun_completes_it(points, minute, monkeypatch):
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(workers, "cores", lambda: 1)  # other tests run beside it
    minute.remove("steps=6")
    knobs = ["steps=150", "callbacks.progress.seconds=0", "callbacks.checkpoint.every_n_steps=20"]
    (point,) = points({"a": knobs})
    results = []

    def checkpoints():
        return sorted((point.run.directory / "checkpoints").glob("step=*.ckpt"))

    def kill(running):
        for worker in running:
            if checkpoints() and worker.process.poll() is None:
                worker.process.send_signal(signal.SIGKILL)

    run_points([point], 1, changed=kill, ended=lambda worker, result: results.append(result))
    assert [r["state"] for r in results] == ["failed"]
    assert results[0]["error"].endswith("(exit status -9)")
    assert point.run.result()["state"] == "missing"
    step = int(checkpoints()[-1].stem.removeprefix("step="))

    run_points([point], 1, ended=lambda worker, result: results.append(result))
    assert (results[1]["state"], results[1]["steps"]) == ("finished", 150)
    first, *_ = workers.STEP.findall((point.run.directory / workers.LOG).read_text())
    assert int(first[0]) > step


def test_progress_is_read_from_the_last_line_of_the_log(points, tmp_path):
    (point,) = points({"a": ["residual=pre_norm"]})
    point.run.directory.mkdir(parents=True)
    worker = Worker(point, SimpleNamespace(), 0, time.monotonic())
    assert worker.progress() == (0.0, "starting")
    log = point.run.directory / workers.LOG
    log.write_text("a warning about step 9/9\n")
    assert worker.progress() == (0.0, "starting")
    log.write_text("step 1/300  loss 8.313  - tokens/s  - left\n")
    assert worker.progress() == (1 / 300, "loss 8.313  - tokens/s  - left")
    with log.open("a") as file:
        file.write("x" * 10_000 + "\nstep 120/300  loss 4.213  12.3k tokens/s  0:00:31 left\nDone.\nstep 130/3")
    assert worker.progress() == (0.4, "loss 4.213  12.3k tokens/s  0:00:31 left")


def test_progress_reads_what_a_run_writes(make_run, points, capsys):
    (point,) = points({"a": ["residual=pre_norm"]})
    point.run.train()
    (point.run.directory / workers.LOG).write_text(capsys.readouterr().out)
    share, status = Worker(point, SimpleNamespace(), 0, 0).progress()
    assert share == 1 and status.startswith("loss ") and status.endswith("0:00:00 left")


def test_stopping_ends_the_workers(points, commands):
    commands.run("import time; time.sleep(60)")
    planned = points({str(k): ["residual=shc", f"residual.n={k}"] for k in range(1, 4)})
    seen = []

    def changed(running):
        seen[:] = running
        if len(running) == 2:
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_points(planned, 2, changed=changed)
    assert time.monotonic() - begun < 30
    assert [worker.process.poll() for worker in seen] == [-signal.SIGTERM] * 2
    assert len(commands.seen) == 2
