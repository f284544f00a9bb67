"""Every registered mode trains: float32 and bf16-mixed, eager and compiled, 200 steps without NaN, to one loss."""

import math

import pytest
import torch

from hcexp.evaluation.meter import Meter
from hcexp.tracking.logger import FileLogger
from tests.registered import MODES

STEPS = 200
# Losses of the same step, eager and compiled. Rounding is not the same in both, and training magnifies it.
EARLY, LATE = {"32-true": 1e-4, "bf16-mixed": 5e-3}, {"32-true": 2e-2, "bf16-mixed": 5e-2}


@pytest.fixture
def losses(make_run, monkeypatch):
    """The training loss of every step of a small run."""

    def train(*overrides):
        found = {}

        def keep(logger, metrics, step=None):
            if "train/loss" in metrics:
                found[step] = metrics["train/loss"]

        monkeypatch.setattr(FileLogger, "log_metrics", keep)
        monkeypatch.setattr(Meter, "varying_shapes", True)  # the evaluation's two shapes are not compiled
        make_run(f"steps={STEPS}", "model.layers=3", "schedule.warmup=10", *overrides).train()
        return [found[step] for step in sorted(found)]

    return train


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("mode", MODES)
def test_eager_and_compiled_train_alike(losses, compiler, mode, precision):
    torch._dynamo.reset()  # or what other modes compiled fills the cache of the block, and this one runs eagerly
    compiled_before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    chosen = (f"residual={mode}", f"trainer.precision={precision}")
    eager, compiled = losses(*chosen), losses(*chosen, "compile=true")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > compiled_before
    assert len(eager) == len(compiled) == STEPS
    assert all(math.isfinite(loss) for loss in (*eager, *compiled))
    assert sum(eager[-10:]) / 10 < eager[0] - 0.5
    for step, (a, b) in enumerate(zip(eager, compiled, strict=True)):
        assert b == pytest.approx(a, rel=(EARLY if step < 10 else LATE)[precision]), f"step {step}"
