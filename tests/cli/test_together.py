import pytest

from hcexp.analysis.rows import Point, Summary
from hcexp.cli.together import labels, ratios
from hcexp.configuration import compose


def named(*runs, steps=None):
    configs = [compose(["paths.cache=x", *overrides]) for overrides in runs]
    return labels(configs, steps or [250] * len(configs))


def test_runs_that_differ_in_the_seed_alone_are_one():
    assert named(["seed=0"], ["seed=1", "paths.runs=elsewhere", "tracking=none"]) == ["pre_norm", "pre_norm"]


def test_a_mode_is_named_with_its_rate():
    runs = ["residual=dhc"], ["residual=dhc", "residual.n=2"], ["residual=post_norm"]
    assert named(*runs) == ["dhc n=4", "dhc n=2", "post_norm"]


def test_what_the_mode_does_not_tell_apart_is_said():
    assert named(["residual=dhc"], ["residual=dhc", "residual.tanh=false"], ["seed=1"]) == [
        "dhc n=4, tanh=True",
        "dhc n=4, tanh=False",
        "pre_norm",
    ]
    assert named([], [], steps=[100, 250]) == ["pre_norm, step=100", "pre_norm, step=250"]


def loss(*values, metric="train/loss_ema99", per_step=64):
    return [Point(metric, step, step * per_step, value) for step, value in enumerate(values, 1)]


BASE = loss(5, 4, 3, 2)


def test_ratios_are_paired_by_seed_and_have_a_students_interval():
    variant = {0: loss(3, 2, 1, 1), 1: loss(4, 3, 2, 1), 7: loss(1, 1)}
    every, (mean,) = ratios({"a": {0: BASE, 1: BASE}, "b": variant})
    assert [(r.seed, r.ratio) for r in every] == [(0, 2.0), (1, pytest.approx(4 / 3))]
    assert mean[:5] == ("b", "a", "train/loss_ema99", 2, 2) and mean.ratio == pytest.approx(5 / 3)
    assert mean.half_width == pytest.approx(12.7062 * (1 / 3))  # t(0.975, 1) times the deviation 0.4714 over √2


def test_where_a_seed_does_not_get_there_no_mean_is_given():
    every, (mean,) = ratios({"a": {0: BASE, 1: BASE}, "b": {0: loss(3, 2), 1: loss(3, 3)}})
    assert [r.ratio for r in every] == [2.0, None]
    assert mean == Summary("b", "a", "train/loss_ema99", 2, 1, None, None)


def test_one_seed_has_no_interval():
    _, (mean,) = ratios({"a": {0: BASE}, "b": {0: loss(3, 2)}})
    assert (mean.ratio, mean.half_width) == (2.0, None)


def test_validation_counts_where_both_measured_it_on_the_way():
    v3 = "v3/mean/loss"
    runs = {"a": {0: loss(3, 2, metric=v3)}, "b": {0: loss(2, 1, metric=v3)}, "c": {0: loss(1, metric="v2/mean/loss")}}
    _, means = ratios(runs)
    assert [(one.variant, one.metric, one.ratio) for one in means] == [("b", v3, 2.0)]


def test_runs_without_curves_or_without_a_seed_in_common_have_none():
    assert ratios({"a": {0: []}, "b": {0: BASE}}) == ([], [])
    assert ratios({"a": {0: BASE}, "b": {1: BASE}}) == ([], [])
    assert ratios({"a": {0: loss(2)}, "b": {0: BASE}}) == ([], [])
