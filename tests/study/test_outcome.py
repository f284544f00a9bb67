import json
from copy import deepcopy
from types import SimpleNamespace

import pytest

from hcexp.run.run import Run
from hcexp.run.scores import ScoreCache, conditions
from hcexp.study import Point, Row, outcome


def of(run):
    return outcome(Point(Row("DHC×2"), 0, run))


@pytest.fixture
def run(trained, runs):
    """The finished run of pre-norm, for writing."""
    config = deepcopy(trained.pre_norm.config)
    config.paths.runs = str(runs)
    return Run(config, trained.pre_norm.overrides)


def test_an_outcome_says_what_became_of_a_point(trained, run, make_run):
    missing = of(make_run("seed=7"))
    assert (missing.state, missing.metrics, missing.curve) == ("missing", {}, {})
    failed = of(trained.stopped)
    assert (failed.state, failed.error, failed.curve) == ("failed", "power cut", {})
    done, result = of(run), run.result()
    assert (done.label, done.seed, done.state, done.metrics) == ("DHC×2", 0, "finished", result["metrics"])
    assert done.result == result and done.directory == run.directory
    assert [step for step, _ in done.curve["train/loss_ema99"]] == [1, 2, 3, 4, 5, 6]  # it was not tracked
    (run.directory / "metrics.jsonl").unlink()  # as of a run of an earlier version
    assert of(run).curve == {"train/loss_ema99": []} and of(run).metrics == result["metrics"]
    del result["config"]["callbacks"]["curves"]
    (run.directory / "result.json").write_text(json.dumps(result))
    assert of(run).curve == {}


def test_what_was_evaluated_during_training_has_curves_and_an_average_its_own_name(make_run):
    run = make_run("evaluation.every=2", "callbacks.curves.ema=0.9")
    metrics, curves = run.train()["metrics"], of(run).curve
    assert set(curves) == {"train/loss_ema9", "local/held/loss", "local/mean/loss"}
    assert [step for step, _ in curves["local/held/loss"]] == [2, 4, 6]
    assert {name: curve[-1] for name, curve in curves.items()} == {name: (6, metrics[name]) for name in curves}


def test_what_the_last_checkpoint_was_measured_on_since_is_in_the_outcome(run):
    own, config = run.result()["metrics"], run.result()["config"]  # it reads 200 tokens a set, at step 6

    def add(metrics, step=6, **changed):
        name = next(iter(metrics)).partition("/")[0]
        benchmark = SimpleNamespace(name=name, parts=("all",), metrics=lambda scored: metrics)
        benchmark.fingerprint_of = lambda part: str(metrics)
        benchmark.score = lambda model, part, watch: {}
        kept = ScoreCache(run.directory, step, str(changed))
        kept.score(None, benchmark, "all")
        kept.keep(benchmark, kept.whole(benchmark, {**conditions(config, name), **changed}))
        return of(run).metrics

    for otherwise in ({"documents": 20}, {"max_tokens": None}, {"max_tokens": 100}, {"precision": "x"}, {"step": 4}):
        assert add({"v3/mean/loss": 2.5}, **otherwise) == own, otherwise
    v3 = {"v3/mean/loss": 2.5, "v3/pile/loss": 2.5}
    assert add(v3) == own | v3
    assert len(add({"downstream/copa/accuracy": 0.5, "downstream/mean/accuracy": 0.5})) == len(own | v3) + 2
    newest = {"downstream/piqa/accuracy": 0.75, "downstream/mean/accuracy": 0.75}
    assert add(newest) == own | v3 | newest, "a mean is of the newest measurement alone"
