import pytest

from hcexp.run.scores import ScoreCache, conditions
from hcexp.study import outcome

ROWS = {"plain": ["residual=pre_norm"], "DHC×2": ["residual=dhc", "residual.n=2"]}


def test_an_outcome_says_what_became_of_a_point(points, interrupt):
    first, second = points(ROWS)
    assert outcome(first).state == "missing" and outcome(first).metrics == {} and outcome(first).curve == {}
    result = first.run.train()
    interrupt(1, RuntimeError("broken"))
    with pytest.raises(RuntimeError):
        second.run.train()
    done, failed = outcome(first), outcome(second)
    assert (done.label, done.seed, done.state, done.metrics) == ("plain", 0, "finished", result["metrics"])
    assert done.result == result and done.directory == first.run.directory
    assert done.curve == {"train/loss_ema99": []}  # it was not tracked
    assert (failed.state, failed.error, failed.curve) == ("failed", "broken", {})


def test_the_curve_of_a_tracked_run_is_in_its_outcome(points, tracked, minute):
    minute += tracked
    (point,) = points({"plain": ["residual=pre_norm"]})
    result = point.run.train()
    curve = outcome(point).curve["train/loss_ema99"]
    assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]
    assert curve[-1][1] == result["metrics"]["train/loss_ema99"]


def test_the_curve_has_the_name_of_the_runs_own_moving_average(points, tracked, minute):
    minute += [*tracked, "callbacks.curves.ema=0.9"]
    (point,) = points({"plain": ["residual=pre_norm"]})
    metrics = point.run.train()["metrics"]
    (curve,) = outcome(point).curve.items()
    assert curve[0] == "train/loss_ema9" and curve[1][-1] == (6, metrics["train/loss_ema9"])


def test_sets_have_curves_if_they_were_evaluated_during_training(points, tracked, minute):
    minute += [*tracked, "evaluation.every=2"]
    (point,) = points({"plain": ["residual=pre_norm"]})
    metrics = point.run.train()["metrics"]
    curves = outcome(point).curve
    assert set(curves) == {"train/loss_ema99", "local/held/loss", "local/mean/loss"}
    assert [step for step, _ in curves["local/held/loss"]] == [2, 4, 6]
    assert curves["local/held/loss"][-1][1] == metrics["local/held/loss"]


def test_a_run_without_training_curves_has_none(points, tracked, minute):
    minute.remove("callbacks.curves.every=1")
    minute += [*tracked, "~callbacks.curves", "callbacks.throughput.every=1"]
    (point,) = points({"plain": ["residual=pre_norm"]})
    point.run.train()
    assert outcome(point).curve == {}


@pytest.fixture
def measured(points):
    """A finished point, and a way to add what one of its checkpoints was measured on."""
    (point,) = points({"plain": ["residual=pre_norm"]})
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
    own, add = measured
    v3 = {"v3/mean/loss": 2.5, "v3/pile/loss": 2.5}
    assert add(v3) == own | v3
    tasks = {"downstream/copa/accuracy": 0.5, "downstream/mean/accuracy": 0.5}
    assert add(tasks) == own | v3 | tasks


@pytest.mark.parametrize(
    "otherwise",
    [{"documents": 20}, {"max_tokens": None}, {"max_tokens": 100}, {"precision": "bf16-mixed"}, {"step": 4}],
    ids=str,
)
def test_what_was_measured_otherwise_is_not(measured, otherwise):
    own, add = measured
    assert add({"v3/mean/loss": 2.5}, **otherwise) == own  # the run itself reads 200 tokens a set, at step 6


def test_a_mean_is_of_the_newest_measurement_alone(measured):
    own, add = measured
    add({"downstream/copa/accuracy": 0.5, "downstream/mean/accuracy": 0.5})
    newest = {"downstream/piqa/accuracy": 0.75, "downstream/mean/accuracy": 0.75}
    assert add(newest) == own | newest
