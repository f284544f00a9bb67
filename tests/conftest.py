import gc
import logging
import os
import random
import shutil
import signal
from contextlib import ExitStack
from functools import partialmethod
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

if TYPE_CHECKING:
    from hcexp.run.run import Run

torch.set_num_threads(1)  # the suite runs in as many processes as there are cores
os.environ["HCEXP_TRUST"] = "tests"  # modes and callbacks that only tests have
os.fsync = lambda descriptor: None  # no test cuts the power, and a disk takes milliseconds for each


def pytest_collection_finish():
    """What is imported lives as long as the tests: the collector of garbage need not walk through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def compiler():
    if not which(os.environ.get("CXX", "g++")):
        pytest.skip("torch.compile needs a C++ compiler, and there is none")


@pytest.fixture
def compile_with(compiler, monkeypatch):
    """Chooses the backend of what is compiled: by "aot_eager" graphs are captured and differentiated as for "inductor",
    but run as they are, without a minute of C++; and that is half as long where its code takes no vectors.
    """
    from torch._inductor import config

    def choose(backend, vectors=False):
        torch._dynamo.reset()  # or what others compiled fills the cache of a block, and the next runs eagerly
        chosen.enter_context(config.patch({"cpp.simdlen": None if vectors else 1}))
        monkeypatch.setattr(nn.Module, "compile", partialmethod(genuine, backend=backend))

    genuine = nn.Module.compile
    with ExitStack() as chosen:
        yield choose


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch):
    """Tests neither read nor write what a person has set up, and never reach for a network."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


# The smallest run that goes through every part of the bench: a third of a second.
MINUTE = (
    "data=local",
    "evaluation=local",
    "tracking=none",
    "model.d=32",
    "model.layers=2",
    "model.heads=2",
    "model.inner=32",
    "steps=6",
    "schedule.warmup=1",
    "data.sequence_length=32",
    "data.batch_size=2",
    "evaluation.max_tokens=200",
    "callbacks.curves.every=1",
    "trainer.accelerator=cpu",
)


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """A folder with train.txt, held.txt and, once they are tokenised, a cache."""
    folder = tmp_path_factory.mktemp("texts")
    draw = random.Random(0)
    words = "the of a river stone morning light over under walks sings and old king".split()
    for name in ("train.txt", "held.txt"):
        (folder / name).write_text(" ".join(draw.choices(words, k=3000)))
    return folder


@pytest.fixture
def minute(texts, tmp_path):
    """The overrides of a minute run of its own folder."""
    files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt"]
    return [*MINUTE, *files, f"paths.cache={texts}/cache", f"paths.runs={tmp_path}/runs"]


@pytest.fixture
def make_run(minute):
    """Makes a minute `Run` with more overrides."""
    from hcexp.configuration import compose
    from hcexp.run.run import Run

    def make(*overrides):
        arguments = [*minute, *overrides]
        return Run(compose(arguments), arguments)

    return make


class Trained(NamedTuple):
    """Runs in `runs`: finished ones of pre-norm and dhc, one of dhc that stopped at step 3; and that one calm."""

    runs: Path
    pre_norm: "Run"
    dhc: "Run"
    stopped: "Run"
    calm: "Run"


@pytest.fixture(scope="session")
def trained(texts, tmp_path_factory):
    """Runs that have trained, for reading alone: who writes takes `runs`."""
    from hcexp.configuration import compose
    from hcexp.run.module import TrainingModule
    from hcexp.run.run import Run

    folder = tmp_path_factory.mktemp("trained")

    def make(runs, *overrides):
        files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt"]
        arguments = [*MINUTE, *files, f"paths.cache={texts}/cache", f"paths.runs={folder}/{runs}", *overrides]
        return Run(compose(arguments), arguments)

    keep = "callbacks.checkpoint.every_n_steps=4"
    found = Trained(
        folder / "runs",
        make("runs", keep),
        make("runs", keep, "residual=dhc", "residual.n=2", "residual.tanh=false", "seed=1"),
        make("runs", "callbacks.checkpoint.every_n_steps=2", "residual=dhc"),
        make("calm", "residual=dhc"),
    )
    for run in (found.pre_norm, found.dhc, found.calm):
        run.train()

    def stop(self, batch, batch_idx):
        if self.trainer.global_step == 3:
            raise RuntimeError("power cut")
        return genuine(self, batch, batch_idx)

    genuine = TrainingModule.training_step
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(TrainingModule, "training_step", stop)
        found.stopped.train()
    return found


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of the trained runs, for writing."""
    return shutil.copytree(trained.runs, tmp_path / "runs")


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory):
    """A new database takes MLflow seconds: made once for all processes, copied for each test."""
    from filelock import FileLock

    from hcexp.tracking import open_store

    shared = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if shared else base) / "template"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            made = tmp_path_factory.mktemp("template")
            open_store(f"sqlite:///{made / 'mlflow.db'}", made, experiment="template")
            shutil.copytree(made, folder)
    return folder / "mlflow.db"


@pytest.fixture
def tracked(minute, mlflow_template, tmp_path):
    """The overrides that record a minute run in MLflow, in the database `runs/mlflow.db`."""
    (tmp_path / "runs").mkdir()
    shutil.copy(mlflow_template, tmp_path / "runs" / "mlflow.db")
    return ["tracking=mlflow"]


@pytest.fixture
def store_uri(tmp_path):
    return f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"


@pytest.fixture
def interrupt(monkeypatch):
    """Makes training stop in the middle of an optimiser step, and undoes it; counts steps from 0."""
    from hcexp.run.module import TrainingModule

    handler = signal.getsignal(signal.SIGINT)
    genuine = TrainingModule.training_step

    def at(step, error=KeyboardInterrupt):
        def training_step(self, batch, batch_idx):
            if step is not None and self.trainer.global_step == step:
                raise error
            return genuine(self, batch, batch_idx)

        monkeypatch.setattr(TrainingModule, "training_step", training_step)

    yield at
    signal.signal(signal.SIGINT, handler)  # Lightning ignores it after the first


@pytest.fixture
def fits(monkeypatch):
    """Every call of `Trainer.fit`, with its keywords."""
    calls, fit = [], Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, *a, **k: (calls.append(k), fit(self, *a, **k)))
    return calls


@pytest.fixture(autouse=True)
def loud():
    """`quiet` is for processes of our own: what it silences is heard again in the next test."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def hcexp(capsys):
    """Runs a command line: (exit status, standard output, standard error)."""
    from hcexp.cli import main

    def call(*arguments):
        capsys.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as stop:  # argparse's own
            status = stop.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def refused(hcexp):
    """Runs a command line that must be refused in one line; gives that line without its beginning."""

    def call(*arguments):
        status, out, err = hcexp(*arguments)
        lines = [line for line in err.splitlines() if not line.startswith("tokens of ")]
        assert len(lines) == 1 and lines[0].startswith("hcexp: error: "), err
        assert status == 2
        return lines[0].removeprefix("hcexp: error: ")

    return call
