from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.profilers import SimpleProfiler

from hcexp.cli import bench_overhead
from hcexp.cli.bench_overhead import Alternate


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_bare_loop_does_what_the_trainer_does_and_blocks_of_both_are_timed(make_run, precision):
    target = "+callbacks.alternate={_target_: hcexp.cli.bench_overhead.Alternate, steps: 2}"
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
    bench_overhead._print_parts(SimpleNamespace(profiler=profiler, global_step=10))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Curves", "200.000", "ms", "20.00%"],
        ["Throughput", "100.000", "ms", "10.00%"],
        "callbacks and logger together: 30.00% of a step, checkpoints included".split(),
    ]


def test_a_run_with_micro_batches_is_refused(refused, minute):
    own = [o for o in minute if not o.startswith(("paths.runs", "tracking"))]
    line = refused("bench", "overhead", *own, "trainer.accumulate_grad_batches=2")
    assert line == "bench overhead compares whole steps: set trainer.accumulate_grad_batches=1"


@pytest.mark.slow
def test_a_command_that_fails_is_told_with_its_last_line(tmp_path):
    with pytest.raises(ValueError, match=r"^hcexp train steps=0 failed: hcexp: error: a run of steps=0 trains nothing"):
        bench_overhead._seconds(["train", "steps=0"], str(tmp_path))


@pytest.mark.slow
def test_trainer_callbacks_and_a_sweep_are_measured(hcexp, minute, monkeypatch):
    monkeypatch.setattr(bench_overhead, "RUNS", 2)
    own = [o for o in minute if not o.startswith(("paths.runs", "tracking", "steps="))]
    status, out, _ = hcexp("bench", "overhead", *own, "steps=30")
    assert status == 0
    steps, *parts, together, sweep = out.splitlines()[-10:]
    assert "4 blocks of 5 steps" in out
    assert {"Curves", "Throughput", "Progress", "StepCheckpoint"} <= {
        part.split()[0] for part in out.splitlines() if part
    }
    assert together.startswith("callbacks and logger together: ") and "in a sweep with one worker" in sweep
