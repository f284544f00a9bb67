import pytest

from hcexp.run.scores import ScoreCache, conditions
from hcexp.study import outcome

PLAIN = {"plain": ["residual=pre_norm"]}


def test_an_outcome_says_what_became_of_a_point(points, interrupt):
    first, second = points({**PLAIN, "DHC×2": ["residual=dhc", "residual.n=2"]})
    assert outcome(first).state == "missing" and outcome(first).metrics == {} and outcome(first).curve == {}
    result = first.run.train()
    interrupt(1, RuntimeError("broken"))
    with pytest.raises(RuntimeError):
        second.run.train()
    done, failed = outcome(first), outcome(second)
    assert (done.label, done.seed, done.state, done.metrics) == ("plain", 0, "finished", result["metrics"])
    assert done.result == result and done.directory == first.run.directory
    assert [step for step, _ in done.curve["train/loss_ema99"]] == [1, 2, 3, 4, 5, 6]  # it was not tracked
    assert (failed.state, failed.error, failed.curve) == ("failed", "broken", {})
    (first.run.directory / "metrics.jsonl").unlink()  # as of a run of an earlier version
    assert outcome(first).curve == {"train/loss_ema99": []} and outcome(first).metrics == result["metrics"]


def test_what_was_evaluated_during_training_has_curves_and_an_average_its_own_name(points, minute):
    minute += ["evaluation.every=2", "callbacks.curves.ema=0.9"]
    (point,) = points(PLAIN)
    metrics = point.run.train()["metrics"]
    curves = outcome(point).curve
    assert set(curves) == {"train/loss_ema9", "local/held/loss", "local/mean/loss"}
    assert [step for step, _ in curves["local/held/loss"]] == [2, 4, 6]
    assert {name: curve[-1] for name, curve in curves.items()} == {name: (6, metrics[name]) for name in curves}


def test_a_run_without_training_curves_has_none(points, minute):
    minute.remove("callbacks.curves.every=1")
    minute += ["~callbacks.curves", "callbacks.throughput.every=1"]
    (point,) = points(PLAIN)
    point.run.train()
    assert outcome(point).curve == {}


@pytest.fixture
def measured(points):
    """The metrics of a finished point, and a way to add what one of its checkpoints was measured on."""
    (point,) = points(PLAIN)
    result = point.run.train()

    class Benchmark:
        parts = ("all",)

        def __init__(self, name, metrics):
            self.name, self._metrics = name, metrics

        def fingerprint_of(self, part):
            return str(self._metrics)

        def score(self, model, part, *, watch=iter):
            return {}

        def metrics(self, scored):
            return self._metrics

    def add(metrics, step=6, **changed):
        name = next(iter(metrics)).partition("/")[0]
        benchmark = Benchmark(name, metrics)
        kept = ScoreCache(point.run.directory, step, str(changed))
        kept.score(None, benchmark, "all")
        under = {**conditions(result["config"], name), **changed}
        kept.keep(benchmark, kept.whole(benchmark, under))
        return outcome(point).metrics

    return result["metrics"], add


def test_what_the_last_checkpoint_was_measured_on_since_is_in_the_outcome(measured):
    own, add = measured  # the run itself reads 200 tokens a set, at step 6
    for otherwise in ({"documents": 20}, {"max_tokens": None}, {"max_tokens": 100}, {"precision": "x"}, {"step": 4}):
        assert add({"v3/mean/loss": 2.5}, **otherwise) == own, otherwise
    v3 = {"v3/mean/loss": 2.5, "v3/pile/loss": 2.5}
    assert add(v3) == own | v3
    assert len(add({"downstream/copa/accuracy": 0.5, "downstream/mean/accuracy": 0.5})) == len(own | v3) + 2
    newest = {"downstream/piqa/accuracy": 0.75, "downstream/mean/accuracy": 0.75}
    assert add(newest) == own | v3 | newest, "a mean is of the newest measurement alone"
