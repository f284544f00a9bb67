import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.profilers import SimpleProfiler

from benchmarks import overhead
from benchmarks.overhead import Alternate
from tests.forked import Forked


@pytest.fixture(autouse=True)
def trusted(monkeypatch):
    monkeypatch.setenv("HCEXP_TRUST", "benchmarks")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_bare_loop_does_what_the_trainer_does_and_blocks_of_both_are_timed(make_run, precision):
    target = "+callbacks.alternate={_target_: benchmarks.overhead.Alternate, steps: 2}"
    run = make_run(target, "residual=shc", f"trainer.precision={precision}", "optimizer.lr=1e-2")
    run.train()
    (alternate,) = (c for c in run.trainer.callbacks if isinstance(c, Alternate))
    trained = dict(run.trainer.lightning_module.model.named_parameters())
    bare = dict(alternate._loop.model.named_parameters())
    assert trained.keys() == bare.keys()
    for name in trained:
        assert trained[name] is not bare[name] and torch.equal(trained[name], bare[name]), name
    assert len(alternate.trained) == len(alternate.bare) == 3  # of six steps
    assert min(*alternate.trained, *alternate.bare) > 0


def test_the_shares_are_of_a_step_in_which_every_hook_is_once(capsys):
    profiler = SimpleProfiler()
    profiler.recorded_durations |= {
        "run_training_batch": [8.0],  # on_before_optimizer_step is within
        "[Callback]Curves.on_before_optimizer_step": [1.0],
        "[Callback]Curves.on_train_batch_end": [1.0],
        "[Callback]Throughput.on_train_batch_end": [1.0],
        "[Callback]Alternate.on_train_batch_end": [50.0],
        "[Callback]Throughput.on_validation_end": [70.0],
    }
    overhead.print_parts(SimpleNamespace(profiler=profiler, global_step=10))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Curves", "200.000", "ms", "20.00%"],
        ["Throughput", "100.000", "ms", "10.00%"],
        "callbacks and logger together: 30.00% of a step, checkpoints included".split(),
    ]


@pytest.fixture
def own(minute):
    """The overrides of a minute run whose folder and tracking are the benchmark's."""
    return [o for o in minute if not o.startswith(("paths.runs", "tracking", "steps="))]


def test_what_cannot_be_compared_is_refused_in_one_line(own, capsys):
    for override, line in {
        "trainer.accumulate_grad_batches=2": "whole steps are compared: set trainer.accumulate_grad_batches=1",
        "steps": "steps is no override: write knob=value",
    }.items():
        assert overhead.main([*own, override]) == 2
        assert capsys.readouterr().err == f"benchmarks.overhead: error: {line}\n"


@pytest.mark.slow
def test_trainer_callbacks_and_a_sweep_are_measured(own, mlflow_template, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(overhead, "RUNS", 1)
    overhead.of_steps([*own, "steps=30"])

    def forked(command, folder):
        runs = Path(tempfile.mkdtemp(dir=folder))
        shutil.copy(mlflow_template, runs / "mlflow.db")
        assert Forked([*command, f"paths.runs={runs}"], runs / "log.txt").wait(300) == 0
        return time.perf_counter() - started

    genuine, started = overhead.seconds_of, time.perf_counter()
    monkeypatch.setattr(overhead, "SHORT", (*own, "steps=6"))
    monkeypatch.setattr(overhead, "seconds_of", forked)
    overhead.of_a_sweep()
    steps, *parts, together, sweep = capsys.readouterr().out.splitlines()[-10:]
    assert "4 blocks of 5 steps" in "".join([steps, *parts])
    assert {"Curves", "Throughput", "Progress", "StepCheckpoint"} <= {part.split()[0] for part in parts if part}
    assert together.startswith("callbacks and logger together: ") and "in a sweep with one worker" in sweep
    assert genuine(["cost", "residual=pre_norm", "model.layers=1"], tmp_path) > 0
    with pytest.raises(ValueError, match=r"^hcexp train steps=0 failed: hcexp: error: a run of steps=0 trains nothing"):
        genuine(["train", "steps=0"], tmp_path)
