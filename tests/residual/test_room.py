"""A mode whose streams grow in number, or that reads each channel by itself, goes wherever a shipped one goes."""

import pytest
import torch

from hcexp.analysis import survey
from hcexp.configuration import build_model
from hcexp.cost.allocated import count_allocated
from hcexp.cost.flops import count_flops
from hcexp.cost.parameters import count_parameters
from hcexp.cost.traffic import count_traffic
from hcexp.cost.workload import workload
from tests.registered import OF_THE_TESTS, label


@pytest.mark.parametrize("mode", OF_THE_TESTS, ids=label)
def test_it_is_trained_counted_and_surveyed(make_run, mode):
    run = make_run(*mode)
    assert run.train()["state"] == "finished"
    network, plain, work = build_model(run.config), build_model(make_run().config), workload(run.config)
    added = count_parameters(network).total - count_parameters(plain).total
    assert count_parameters(network).residual == added > 0
    assert count_flops(network, work).training >= count_flops(plain, work).training
    positions, wide = work.positions(network), {"dtype": torch.float32, "mixed": False}
    assert count_traffic(network, positions, **wide) > count_traffic(plain, positions, **wide)
    kept = count_allocated(network, work, samples=2, **wide).kept
    assert kept > count_allocated(plain, work, samples=2, **wide).kept

    trained = run.trainer.lightning_module.model.eval()
    found = survey(trained, [work.example(2)[0]])
    layers, n = len(found.kinds), found.B.shape[-1]
    assert n in (1, layers + 1)  # what a history has in the end
    assert found.connections.C_0.shape == (layers + 1, layers + 1)
    assert found.connections.C.shape == (n, layers, layers + 1)
    assert found.ranks.isfinite().all() and found.reads.sum(dim=-1).allclose(torch.ones(layers).double())


@pytest.mark.slow
@pytest.mark.parametrize("mode", OF_THE_TESTS, ids=label)
def test_it_is_compiled_in_the_unit_that_it_asks_for(make_run, compile_with, mode):
    compile_with("aot_eager")
    eager, compiled = make_run(*mode).train(), make_run(*mode, "compile=true").train()
    assert compiled["metrics"]["train/loss"] == pytest.approx(eager["metrics"]["train/loss"], rel=1e-4)
