"""Processes of their own that are killed, run into a full disk, or lose their server, beside undisturbed ones."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

import hcexp
from hcexp.callbacks import latest
from hcexp.configuration import compose
from hcexp.run.run import Run
from hcexp.tracking.outbox import Outbox
from hcexp.tracking.store import require_answer
from tests.conftest import MINUTE
from tests.forked import Forked

pytestmark = pytest.mark.slow
ROOT = Path(hcexp.__file__).parents[1]
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}  # as many threads as the runs of this process have
KNOBS = [
    "residual=dhc",
    "steps=150",
    "evaluation.every=20",
    "callbacks.checkpoint.every_n_steps=10",
    "callbacks.curves.every=3",
    "callbacks.progress.seconds=0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def overrides(texts, folder):
    """Gives the overrides of the run in a folder of this name."""

    def make(name, *more):
        files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt", f"paths.cache={texts}/cache"]
        return [*MINUTE, *files, *KNOBS, f"paths.runs={folder}/{name}", *more]

    return make


@pytest.fixture(scope="module")
def store(folder, mlflow_template):
    """Makes the folder of a run, with a database of its own: the overrides that record there, and its address."""

    def make(name):
        (folder / name).mkdir()
        shutil.copy(mlflow_template, folder / name / "mlflow.db")
        return ["tracking=mlflow", "tracking.flush_seconds=0"], f"sqlite:///{folder / name / 'mlflow.db'}"

    return make


@pytest.fixture(scope="module")
def calm(overrides, store):
    """What an undisturbed run leaves, and its curves."""
    tracked, uri = store("calm")
    undisturbed = left(trained(overrides("calm", *tracked)))
    return undisturbed, curves(uri, undisturbed[2]["run_id"])


def trained(overrides):
    """The overrides, of a run that was trained in this process."""
    Run(compose(overrides), overrides).train()
    return overrides


def command(overrides):
    return [sys.executable, "-m", "hcexp", "train", *overrides]


def train(overrides):
    return subprocess.run(command(overrides), env=ALONE, cwd=ROOT, capture_output=True, text=True, timeout=300)


def start(overrides, log):
    """A process that trains, and writes into a log."""
    return Forked(["train", *overrides], log)


def left(overrides):
    """Measured metrics, tensors of the last checkpoint, and the result of a run."""
    run = Run(compose(overrides))
    result = run.result()
    assert result["state"] == "finished", result["error"]
    state = torch.load(latest(run.directory / "checkpoints"), weights_only=True)["state_dict"]
    return {k: v for k, v in result["metrics"].items() if not k.startswith("perf/")}, state, result


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert [name for name, tensor in one[1].items() if not torch.equal(tensor, other[1][name])] == []


def curves(uri, run_id):
    """Every point of every curve, once each; perf/ left out."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    points = [
        (name, point.step, point.value)
        for name in client.get_run(run_id).data.metrics
        for point in client.get_metric_history(run_id, name)
    ]
    assert max(Counter(point[:2] for point in points).values()) == 1
    return sorted(point for point in points if not point[0].startswith("perf/"))


def wait_for_step(process, log, beyond=0):
    """Until the process shows a step of its own in the log, or ends."""
    while process.poll() is None and not any(int(n) > beyond for n in re.findall(r"step (\d+)/", log.read_text())):
        time.sleep(0.01)


def test_a_run_that_is_killed_at_random_ends_as_if_nothing_had_been(overrides, calm, store, tmp_path):
    tracked, uri = store("killed")
    killed, log = overrides("killed", *tracked), tmp_path / "log.txt"
    draw, kills = random.Random(0), 0
    for attempt in range(20):
        process = start(killed, log)
        if attempt < 4:
            wait_for_step(process, log)
            time.sleep(draw.uniform(0, 1))
            process.kill()
        process.wait(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, log.read_text()
        kills += 1
    assert kills >= 2
    undisturbed, run = calm[0], left(killed)
    assert_same(undisturbed, run)
    assert curves(uri, run[2]["run_id"]) == calm[1]


def test_a_killed_run_goes_on_with_two_processes(overrides, calm, tmp_path):
    killed, log = overrides("in two"), tmp_path / "log.txt"
    process = start(killed, log)
    wait_for_step(process, log, beyond=60)
    process.kill()
    process.wait()
    folder = Run(compose(killed)).directory
    done = train(["--resume", str(folder), "trainer.devices=2", "trainer.strategy=ddp"])
    assert done.returncode == 0, done.stderr
    run = left(killed)
    assert run[0] == pytest.approx(calm[0][0], rel=1e-5)
    first, second = run[2]["attempts"]
    assert (first["trainer.devices"], second["trainer.devices"]) == (1, 2)
    assert second["trainer.strategy"] == "ddp" and second["step"] >= 50


@pytest.fixture
def server(tmp_path, mlflow_template):
    """Starts an `mlflow server` on one and the same database and address; stops it with `kill`."""
    shutil.copy(mlflow_template, tmp_path / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    class Server:
        uri = f"http://127.0.0.1:{port}"
        process = None

        def start(self):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port),
                 "--backend-store-uri", f"sqlite:///{tmp_path}/server.db",
                 "--artifacts-destination", f"{tmp_path}/kept"],
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            for _ in range(1200):
                try:
                    return require_answer(self.uri)
                except ConnectionError:
                    time.sleep(0.1)
            raise TimeoutError("no MLflow server in two minutes")

        def kill(self):
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    running = Server()
    running.start()
    yield running
    running.kill()


def test_a_server_that_dies_in_mid_run_costs_nothing(overrides, calm, server, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(ALONE, "NO_PROXY", "127.0.0.1")
    lost = overrides("lost", "tracking=mlflow", f"tracking.uri={server.uri}", "tracking.flush_seconds=0")
    log = tmp_path / "log.txt"
    process = start(lost, log)
    wait_for_step(process, log)
    server.kill()
    assert process.wait(timeout=120) == 0, log.read_text()
    folder = Run(compose(lost)).directory
    assert f"the rest lies in {folder}" in log.read_text() and Outbox(server.uri, folder).waits()
    undisturbed, run = calm[0], left(lost)
    assert_same(undisturbed, run)

    again = train(lost)
    assert again.returncode == 0 and "not all is there yet" in again.stderr, again.stderr
    server.start()
    again = train(lost)
    assert again.returncode == 0 and "finished before" in again.stdout and not Outbox(server.uri, folder).waits()
    assert server.uri not in again.stdout + again.stderr  # it may hold a password
    assert curves(server.uri, run[2]["run_id"]) == calm[1]
    from mlflow import MlflowClient

    recorded = MlflowClient(server.uri).get_run(run[2]["run_id"])
    assert recorded.info.status == "FINISHED" and "error" not in recorded.data.tags
    final = run[2]["metrics"]  # beside curves of what is no final metric, such as gradient norms
    assert {name: recorded.data.metrics[name] for name in final} == pytest.approx(final)


SMALL_DISK = """
import subprocess, sys
from pathlib import Path

disk, spare, when, *command = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], check=True)
filler = Path(disk) / "filler"

def fill():
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass

process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
for line in process.stdout:
    if line.startswith(f"step {when}/"):
        fill()
        break
process.stdout.read()
errors = process.stderr.read()
print(process.wait(), *[line for line in errors.splitlines() if line.startswith("hcexp: error")], sep="\\n")
print("CHECKPOINTS", *sorted(path.name for path in Path(disk).glob("runs/*/checkpoints/*")))
filler.unlink()
again = subprocess.run(command, capture_output=True, text=True)
print("AGAIN", again.returncode, again.stderr[-300:] if again.returncode else "")
subprocess.run(["cp", "-r", f"{disk}/runs", spare], check=True)
"""


def namespace():
    """What gives a command mounts of its own, or None."""
    for start in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        if (
            shutil.which("unshare")
            and not subprocess.run([*start, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode
        ):
            return start
    return None


SMALL = ["model.d=64", "steps=60"]


@pytest.fixture(scope="module")
def small(overrides):
    """What an undisturbed run leaves whose checkpoints fill a small disk."""
    return left(trained(overrides("calm and small", *SMALL)))


@pytest.mark.parametrize("tracking", ["none", "mlflow"])
def test_a_disk_that_fills_up_is_one_line_and_with_room_the_run_goes_on(overrides, small, folder, tracking):
    begin = namespace()
    if begin is None:
        pytest.skip("no small disk can be mounted here: neither root nor user namespaces")
    disk, spare = f"disk of {tracking}", f"spare of {tracking}"
    (folder / disk).mkdir()
    full = overrides(f"{disk}/runs", *SMALL, f"tracking={tracking}")
    script = [*begin, sys.executable, "-c", SMALL_DISK, str(folder / disk), str(folder / spare), "40", *command(full)]
    done = subprocess.run(script, env=ALONE, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    status, error, *_ = done.stdout.splitlines()
    assert int(status) == 2 and re.search("room|free", error), done.stdout
    assert len(re.findall(r"step=\d+.ckpt(?!.)", done.stdout.replace(" ", "\n"))) >= 2, done.stdout
    assert "AGAIN 0" in done.stdout, done.stdout
    assert_same(small, left(overrides(spare, *SMALL)))
