"""Two processes, in copies of the model or in shards of it, do what one does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

from hcexp.callbacks import latest
from hcexp.configuration import compose
from hcexp.huggingface import export
from hcexp.run.checkpoint import read_checkpoint, tokenizer_of
from hcexp.run.run import Run
from tests.conftest import MINUTE
from tests.mlflow_curves import history
from tests.registered import MODES, has_rate

pytestmark = pytest.mark.slow

KNOBS = [
    "data.batch_size=4",
    "evaluation.every=3",
    "downstream.tasks=[copa]",
    "evaluation.documents=20",
    "callbacks.checkpoint.every_n_steps=2",
    "callbacks.checkpoint.keep=9",
    "tracking=mlflow",
]
# Three streams cannot be cut into two equal parts; some of the parameters are frozen, some a single number.
RESIDUALS = {
    "pre_norm": ["residual=pre_norm", "model.tied=false"],
    "shc": ["residual=shc", "residual.n=3", "residual.train_wc=false"],
    "dhc": ["residual=dhc", "residual.n=3", "model.norm_affine=true", "model.qk_norm=true"],
    "history": ["residual._target_=tests.model.history.Dense"],  # a state that grows
}
TRAINERS = {
    "ddp": ["trainer=ddp"],
    "fsdp": ["trainer=fsdp"],
    "ddp-recomputed": ["trainer=ddp", "model.activation_checkpointing=true", "trainer.accumulate_grad_batches=2"],
    "fsdp-recomputed": ["trainer=fsdp", "model.activation_checkpointing=true", "trainer.accumulate_grad_batches=2"],
}
CURVES = [
    "train/loss",
    "train/loss_ema99",
    "train/grad_norm",
    "train/lr",
    "train/tokens",
    "local/held/loss",
    "downstream/copa/accuracy",
    "downstream/copa/bits_per_byte",
]


class Bench:
    """Runs in folders of their own; `two` trains several in one pair of processes."""

    def __init__(self, folder, texts, mlflow_template):
        self.folder, self.texts, self.template = folder, texts, mlflow_template

    def overrides(self, name, *overrides):
        runs = self.folder / name
        if not runs.exists():
            runs.mkdir()
            shutil.copy(self.template, runs / "mlflow.db")
        files = [f"data.files={self.texts}/train.txt", f"evaluation.files={self.texts}/held.txt"]
        return [*MINUTE, *KNOBS, *files, f"paths.cache={self.texts}/cache", f"paths.runs={runs}", *overrides]

    def run(self, name, *overrides):
        arguments = self.overrides(name, *overrides)
        return Run(compose(arguments), arguments)

    def job(self, name, mode, trainer, *overrides, runs=None, **more):
        overrides = [*RESIDUALS[mode], *TRAINERS[trainer], "trainer.devices=2", *overrides]
        return "train", {"overrides": self.overrides(runs or name, *overrides), **more}

    def two(self, jobs):
        """What came of each job, on both processes."""
        outcomes = Path(mkdtemp(dir=self.folder))
        (outcomes / "jobs.json").write_text(json.dumps(jobs))
        root = Path(__file__).parents[1]
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        command += ["-m", "tests.two_processes", str(outcomes / "jobs.json"), str(outcomes)]
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=environment, check=True, timeout=600)
        return {
            name: [json.loads((outcomes / f"{name}.{rank}.json").read_text()) for rank in range(2)] for name in jobs
        }

    def curves(self, name, run_id, **after):
        store = f"sqlite:///{self.folder / name / 'mlflow.db'}"
        found = {metric: history(store, run_id, metric) for metric in CURVES}
        return {
            metric: [point for point in points if point[0] > after.get("step", 0)] for metric, points in found.items()
        }


@pytest.fixture(scope="module")
def bench(tmp_path_factory, texts, mlflow_template):
    return Bench(tmp_path_factory.mktemp("processes"), texts, mlflow_template)


@pytest.fixture(scope="module")
def alone(bench):
    """The runs of a single process: each `Run`, finished."""
    runs = {mode: bench.run(f"{mode}-alone", *overrides) for mode, overrides in RESIDUALS.items()}
    for run in runs.values():
        run.train()
    return runs


@pytest.fixture(scope="module")
def two(bench, alone):
    """What two processes made of all the jobs."""

    def halfway(run):
        return str(run.directory / "checkpoints" / "step=000004.ckpt")

    jobs = {
        f"{mode}-{trainer}": bench.job(f"{mode}-{trainer}", mode, trainer) for mode in RESIDUALS for trainer in TRAINERS
    }
    jobs["finished before"] = bench.job("finished before", "dhc", "fsdp", runs="dhc-fsdp")
    jobs["fsdp from one"] = bench.job("fsdp from one", "dhc", "fsdp", checkpoint=halfway(alone["dhc"]))
    jobs["ddp from one"] = bench.job("ddp from one", "dhc", "ddp", checkpoint=halfway(alone["dhc"]))
    in_shards = ["trainer.strategy.sharded_checkpoints=true"]
    sharded = bench.run("sharded", *RESIDUALS["shc"], *TRAINERS["fsdp"], "trainer.devices=2", *in_shards)
    jobs["sharded"] = bench.job("sharded", "shc", "fsdp", *in_shards)
    jobs["fsdp from shards"] = bench.job("fsdp from shards", "shc", "fsdp", *in_shards, checkpoint=halfway(sharded))
    jobs["stopped"] = bench.job("stopped", "dhc", "fsdp", "callbacks.checkpoint.every_n_steps=100", sigterm=3)
    jobs["gone on"] = bench.job("gone on", "dhc", "fsdp", "callbacks.checkpoint.every_n_steps=100", runs="stopped")
    if shutil.which(os.environ.get("CXX", "g++")):
        jobs["compiled"] = bench.job("compiled", "shc", "fsdp-recomputed", "compile=true", backend="aot_eager")
    jobs["diverged"] = bench.job("diverged", "pre_norm", "fsdp", "optimizer.lr=1e30", "trainer.gradient_clip_val=null")
    for mode in MODES:
        rate = ["residual.n=3"] if has_rate(mode) else []
        norms = ["model.norm_affine=true", "model.qk_norm=true", "model.tied=false", "model.pad_vocabulary_to=1"]
        jobs[f"start {mode}"] = ("start", {"overrides": bench.overrides("start", f"residual={mode}", *rate, *norms)})
    from_olmo = [*RESIDUALS["shc"], "model.tied=false", f"init_from={olmo(bench, alone)}"]
    jobs["start from olmo"] = ("start", {"overrides": bench.overrides("start", *from_olmo)})
    return bench.two(jobs)


def olmo(bench, alone):
    trained = read_checkpoint(alone["pre_norm"].directory)
    model, residual = dict(trained.config.model), dict(trained.config.residual)
    folder = bench.folder / "olmo"
    export(model, residual, trained.weights, tokenizer_of(trained.config), folder, sequence_length=32)
    return folder


def agree(found, expected):
    for metric in CURVES:
        steps, values = zip(*expected[metric], strict=True)
        assert tuple(step for step, _ in found[metric]) == steps, metric
        assert [value for _, value in found[metric]] == pytest.approx(values, rel=1e-5), metric


@pytest.mark.parametrize("mode", RESIDUALS)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_curves_are_those_of_one_process(bench, alone, two, mode, trainer):
    first, second = two[name := f"{mode}-{trainer}"]
    assert first["result"]["metrics"]["local/held/loss"] == second["result"]["metrics"]["local/held/loss"]
    whole = alone[mode].result()
    expected = bench.curves(f"{mode}-alone", whole["run_id"])
    assert [step for step, _ in expected["train/loss"]] == [1, 2, 3, 4, 5, 6]
    agree(bench.curves(name, first["result"]["run_id"]), expected)
    assert first["result"]["parameters"] == whole["parameters"]


@pytest.mark.parametrize("mode", MODES)
def test_shards_start_from_the_weights_of_one_process(two, mode):
    first, second = two[f"start {mode}"]
    assert first["different"] == second["different"] == []
    assert first["here"] + second["here"] == first["all"] and first["here"] < 0.6 * first["all"]


def test_shards_start_from_loaded_weights(two):
    assert [outcome["different"] for outcome in two["start from olmo"]] == [[], []]


def test_a_finished_run_is_not_repeated(two):
    written = two["dhc-fsdp"][0]["result"]
    for outcome in two["finished before"]:
        assert not outcome["trained"] and outcome["result"]["metrics"] == written["metrics"]


@pytest.mark.parametrize("name", ["fsdp from one", "ddp from one", "fsdp from shards"])
def test_two_processes_go_on_from_a_checkpoint(bench, alone, two, name):
    mode = "shc" if "shards" in name else "dhc"
    expected = bench.curves(f"{mode}-alone", alone[mode].result()["run_id"], step=4)
    assert [step for step, _ in expected["train/loss"]] == [5, 6]
    agree(bench.curves(name, two[name][0]["result"]["run_id"]), expected)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_one_process_goes_on_from_a_checkpoint_of_two(bench, alone, two, trainer):
    theirs = bench.run(f"dhc-{trainer}", *RESIDUALS["dhc"], *TRAINERS[trainer], "trainer.devices=2")
    ours = bench.run(f"one from {trainer}", *RESIDUALS["dhc"])
    (ours.directory / "checkpoints").mkdir(parents=True)
    shutil.copy(theirs.directory / "checkpoints" / "step=000004.ckpt", ours.directory / "checkpoints")
    expected = bench.curves("dhc-alone", alone["dhc"].result()["run_id"], step=4)
    agree(bench.curves(f"one from {trainer}", ours.train()["run_id"]), expected)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_checkpoint_of_two_processes_is_that_of_one(bench, alone, two, trainer):
    theirs = bench.run(f"dhc-{trainer}", *RESIDUALS["dhc"], *TRAINERS[trainer], "trainer.devices=2")
    whole, shared = read_checkpoint(alone["dhc"].directory), read_checkpoint(theirs.directory)
    assert shared.step == whole.step == 6 and shared.weights.keys() == whole.weights.keys()
    for name, weight in whole.weights.items():
        torch.testing.assert_close(shared.weights[name], weight, rtol=1e-4, atol=1e-6)
    states = [
        torch.load(latest(run.directory / "checkpoints"), weights_only=True)["optimizer_states"][0]
        for run in (alone["dhc"], theirs)
    ]
    one, other = ([group["params"] for group in state["param_groups"]] for state in states)
    assert one == other and len(one) == 2
    for i, moments in states[0]["state"].items():
        torch.testing.assert_close(states[1]["state"][i]["exp_avg"], moments["exp_avg"], rtol=1e-3, atol=1e-6)


def test_processes_save_and_end_together_if_one_of_them_is_told_to(bench, alone, two):
    """Only the second was sent SIGTERM; no checkpoint was due."""
    for outcome in two["stopped"]:
        assert outcome["error"].startswith("SIGTERMException")
    for outcome in two["gone on"]:
        assert outcome["checkpoints"] == ["step=000004.ckpt", "step=000006.ckpt"]
    expected = bench.curves("dhc-alone", alone["dhc"].result()["run_id"])
    agree(bench.curves("stopped", two["gone on"][0]["result"]["run_id"]), expected)


def test_a_loss_that_is_not_finite_ends_all_processes(two):
    for outcome in two["diverged"]:
        assert outcome["error"].startswith("FloatingPointError: ")


def test_compiled_blocks_in_shards_that_recompute(bench, alone, two, compiler):
    expected = bench.curves("shc-alone", alone["shc"].result()["run_id"])
    agree(bench.curves("compiled", two["compiled"][0]["result"]["run_id"]), expected)
