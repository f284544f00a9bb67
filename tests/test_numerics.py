"""Every registered mode trains: float32 and bf16-mixed, eager and compiled, 200 steps without NaN, to one loss."""

import math
from contextlib import nullcontext

import pytest
import torch

from hcexp.evaluation.meter import Meter
from hcexp.tracking.logger import FileLogger
from tests.registered import MODES

STEPS, FIRST = 200, 40  # of which a graph that is only captured, and runs slower than eager code, goes the first
# Losses of the same step, eager and compiled. Rounding is not the same in both, and training magnifies it.
EARLY, LATE = {"32-true": 1e-4, "bf16-mixed": 5e-3}, {"32-true": 2e-2, "bf16-mixed": 5e-2}
# Every mode goes through inductor, forward and backward, and one of them in all its ways. What autocast puts between is
# in the captured graphs already: of the others these run as they are.
BACKENDS = {"32-true": "inductor", "bf16-mixed": "aot_eager"}
CASES = [(mode, precision, BACKENDS[precision]) for mode in MODES if mode != "dhc" for precision in BACKENDS]
CASES += [("dhc", precision, "inductor with vectors") for precision in BACKENDS]


@pytest.fixture
def losses(make_run, interrupt, monkeypatch):
    """The training loss of every step of a small run, or of the first so many."""

    def train(*overrides, first=None):
        found = {}
        interrupt(first)

        def keep(logger, metrics, step=None):
            if "train/loss" in metrics:
                found[step] = metrics["train/loss"]

        monkeypatch.setattr(FileLogger, "log_metrics", keep)
        monkeypatch.setattr(Meter, "varying_shapes", True)  # the evaluation's two shapes are not compiled
        with nullcontext() if first is None else pytest.raises(KeyboardInterrupt):
            make_run(f"steps={STEPS}", "model.layers=3", "schedule.warmup=10", *overrides).train()
        return [found[step] for step in sorted(found)]

    return train


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "precision", "backend"), CASES)
def test_eager_and_compiled_train_alike(losses, compile_with, mode, precision, backend):
    compile_with(backend.partition(" ")[0], vectors=backend.endswith("vectors"))
    compiled_before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    chosen = (f"residual={mode}", f"trainer.precision={precision}")
    eager = losses(*chosen)
    compiled = losses(*chosen, "compile=true", first=FIRST if backend == "aot_eager" else None)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > compiled_before
    assert len(eager) == STEPS and len(compiled) == (FIRST if backend == "aot_eager" else STEPS)
    assert all(math.isfinite(loss) for loss in (*eager, *compiled))
    assert sum(eager[-10:]) / 10 < eager[0] - 0.5
    for step, (a, b) in enumerate(zip(eager, compiled, strict=False)):
        assert b == pytest.approx(a, rel=(EARLY if step < 10 else LATE)[precision]), f"step {step}"
