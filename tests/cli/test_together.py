import pytest

from hcexp.analysis.rows import Summary
from hcexp.cli.together import caveat, labels, ratios, repeated, told_apart
from hcexp.configuration import compose
from hcexp.run.history import Point


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


def apart(*runs, codes=None, folders=None):
    configs = [compose(["paths.cache=x", *overrides]) for overrides in runs]
    marks = [(words or [""] * len(runs))[: len(runs)] for words in (codes, folders)]
    return told_apart(labels(configs, [250] * len(configs)), configs, *marks)


def test_runs_of_one_seed_are_told_apart_by_that_of_their_data():
    runs = ["seed=0"], ["seed=1"], ["seed=0", "data.seed=5"], ["seed=0", "residual=shc"]
    assert apart(*runs) == ["pre_norm", "pre_norm", "pre_norm, data.seed=5", "shc n=4"]
    assert apart(["data.seed=5"], ["seed=1"]) == ["pre_norm"] * 2, "they are of two seeds already"


def test_runs_of_one_seed_are_told_apart_by_code_and_else_by_folder():
    runs = ["seed=0"], ["seed=0"], ["seed=1"], ["residual=shc"]
    codes = ["code 1", "code 2", "code 1", "code 1"]
    assert apart(*runs, codes=codes) == ["pre_norm, code 1", "pre_norm, code 2", "pre_norm, code 1", "shc n=4"]
    folders = ["in a", "in b", "in b", "in b"]
    assert apart(*runs, folders=folders) == ["pre_norm, in a", "pre_norm, in b", "pre_norm, in b", "shc n=4"]
    assert apart(*runs[:2], codes=codes, folders=folders) == ["pre_norm, code 1", "pre_norm, code 2"]


def test_what_cannot_be_told_apart_is_found():
    assert repeated(["a", "a", "b", "a"], [0, 1, 0, 1]) == [1, 3] and repeated(["a", "a", "b"], [0, 1, 0]) == []


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


V3 = "v3/mean/loss"


def test_validation_counts_where_both_measured_it_on_the_way():
    runs = {"a": {0: loss(3, 2, metric=V3)}, "b": {0: loss(2, 1, metric=V3)}, "c": {0: loss(1, metric="v2/mean/loss")}}
    _, means = ratios(runs)
    assert [(one.variant, one.metric, one.ratio) for one in means] == [("b", V3, 2.0)]


def test_a_variant_that_was_evaluated_at_its_end_alone_says_not_when_it_got_there():
    at_the_end = loss(3, 2, 1, 1) + [Point(V3, 4, 256, 1.0)]
    _, means = ratios({"a": {0: BASE + loss(5, 4, 3, 2, metric=V3)}, "b": {0: at_the_end}})
    assert [(one.metric, one.ratio) for one in means] == [("train/loss_ema99", 2.0)]


def test_where_a_curve_begins_below_the_ratio_is_a_lower_bound():
    begins_below = [Point(V3, step, step * 64, 1.0) for step in (2, 4)]
    variant = {0: begins_below, 1: loss(4, 3, 2, 1, metric=V3)}
    every, (mean,) = ratios({"a": {seed: loss(5, 4, 3, 2, metric=V3) for seed in (0, 1)}, "b": variant})
    assert [(one.seed, one.ratio, one.at_least) for one in every] == [(0, None, 2.0), (1, pytest.approx(4 / 3), None)]
    assert mean == Summary("b", "a", V3, 2, 2, None, None, pytest.approx(5 / 3))


def test_a_decayed_schedule_is_named_and_one_that_stays_is_not():
    said = caveat(compose(["paths.cache=x"]))
    assert said.startswith("These ratios are biased against the variants: ") and said.count(". ") == 0
    assert "(cosine to 10 % of its peak)" in said
    assert caveat(compose(["paths.cache=x", "schedule=constant"])) == ""


def test_runs_without_curves_or_without_a_seed_in_common_have_none():
    assert ratios({"a": {0: []}, "b": {0: BASE}}) == ([], [])
    assert ratios({"a": {0: BASE}, "b": {1: BASE}}) == ([], [])
    assert ratios({"a": {0: loss(2)}, "b": {0: BASE}}) == ([], [])
