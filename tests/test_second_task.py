"""A task that the package has never heard of: four files and a YAML beside each, and everything else takes it."""

from pathlib import Path

import pytest
import torch
import yaml

from hcexp.callbacks import latest
from hcexp.configuration import build_model, compose
from hcexp.cost.allocated import count_allocated
from hcexp.cost.flops import count_flops
from hcexp.cost.parameters import count_parameters
from hcexp.cost.traffic import count_traffic
from hcexp.cost.workload import workload
from hcexp.run.run import Run
from hcexp.tracking.metrics import read

CONF = Path(__file__).parent / "task" / "conf"
TASK = (f"hydra.searchpath=[file://{CONF}]", "scale=vectors", "tracking=none", "trainer.accelerator=cpu")


@pytest.fixture
def make(tmp_path):
    def make(*overrides, runs="runs"):
        arguments = [*TASK, "residual=dhc", "residual.n=2", f"paths.runs={tmp_path}/{runs}", *overrides]
        return Run(compose(arguments), arguments)

    return make


def weights(run):
    return torch.load(latest(run.directory / "checkpoints"), weights_only=True)["state_dict"]


def measured(result):
    return {name: value for name, value in result["metrics"].items() if not name.startswith("perf/")}


def test_it_learns_and_goes_on_bit_for_bit(make, interrupt):
    calm = make("evaluation.every=10", runs="calm")
    result = calm.train()
    assert (result["state"], result["steps"]) == ("finished", 30)
    assert result["metrics"]["vectors/near/top1"] > 0.8 > 0.2 and result["metrics"]["train/samples"] == 30 * 8
    curves = read(calm.directory / "metrics.jsonl")
    assert [step for step, _ in curves["vectors/mean/loss"]] == [10, 20, 30]
    assert curves["train/right"][-1][1] > curves["train/right"][0][1]
    assert "perf/samples_per_second" in result["metrics"] and "perf/tokens_per_second" not in result["metrics"]

    interrupt(15)
    with pytest.raises(KeyboardInterrupt):
        make("evaluation.every=10").train()
    interrupt(None)
    again = make("evaluation.every=10")
    assert measured(again.train()) == measured(result)
    assert all(torch.equal(weights(again)[name], weight) for name, weight in weights(calm).items())


def test_micro_batches_see_the_same_noise(make):
    whole, cut = (make(f"trainer.accumulate_grad_batches={k}", "steps=5", "schedule.warmup=1").train() for k in (1, 4))
    assert measured(whole) == pytest.approx(measured(cut), rel=1e-4)


def test_it_is_costed(make):
    config = make().config
    network, work = build_model(config), workload(config)
    positions = work.positions(network)
    assert positions == 4 and count_parameters(network).residual > 0
    flops = count_flops(network, work)
    by_hand = 2 * (2 * (4 * 16 * 16 + 3 * 16 * 32) + 6 * 16 + 5 * 16 / 4)  # blocks, embedding, a quarter of the head
    assert flops.forward - flops.residual == by_hand
    assert count_traffic(network, positions, dtype=torch.float32, mixed=False) > 0
    one, two = (count_allocated(network, work, samples=n, dtype=torch.float32, mixed=False).bytes(n) for n in (8, 16))
    assert two > 1.5 * one


ROWS = {"Plain": ["residual=pre_norm"], "DHC×2": ["residual=dhc", "residual.n=2"]}


@pytest.fixture
def sweep(hcexp, tmp_path):
    """Sweeps the rows under two seeds, and reports: standard output, and the options that all runs have."""
    path = tmp_path / "vectors.yaml"
    rows = [{"label": label, "overrides": overrides} for label, overrides in ROWS.items()]
    path.write_text(yaml.safe_dump({"title": "Which class?", "baseline": "Plain", "seeds": [0, 1], "rows": rows}))
    options = [*(option for option in TASK if option != "scale=vectors"), f"paths.runs={tmp_path}/runs"]

    def sweep(*more):
        status, out, err = hcexp("sweep", path, "--scale", "vectors", "--workers", "1", *more, *options)
        assert (status, err) == (0, ""), err
        (page,) = (tmp_path / "runs" / "reports").glob("*/report.html")
        assert "DHC×2" in page.read_text() and "vectors" in page.read_text()
        return out

    return sweep, options


def test_it_is_swept_reported_and_analysed(hcexp, sweep, tmp_path):
    sweep, options = sweep
    for row in ROWS.values():
        for seed in (0, 1):
            arguments = [*options, "scale=vectors", *row, f"seed={seed}"]
            run = Run(compose(arguments), arguments)
            run.train()
    out = sweep()  # all of its runs are there: it reports
    assert "4 finished before" in out and "vectors loss" in out

    status, out, err = hcexp("analyse", run.directory)
    assert status == 0, err
    assert next(run.directory.glob("analysis/connections.csv"))
    status, out, _ = hcexp("runs", f"paths.runs={tmp_path}/runs")
    assert status == 0 and out.count("finished") == 4


@pytest.mark.slow
def test_the_processes_of_a_sweep_train_it(sweep):
    out = sweep[0]("--seeds", "1")
    assert "2 runs, 0 finished before" in out and out.count(": finished in ") == 2


def test_its_search_is_judged_by_its_headline(make):
    assert make().headline == "vectors/mean/loss"
