import math
from dataclasses import replace
from pathlib import Path

import pytest

from hcexp.report.budgets import budgets, read_at
from hcexp.report.costs import Costs, RowCost, costs
from hcexp.report.render import latex
from hcexp.report.report import build
from hcexp.report.results import Results
from tests.report.read import section

MEAN = "corpus/mean/loss"
TRAINING = "train/loss_ema99"


def line(start, end):
    """A curve of 100 steps, evaluated every ten, that falls along a straight line."""
    return [(step, start + (end - start) * step / 100) for step in range(0, 101, 10)]


@pytest.fixture
def made(sweep, finished):
    """A function: two rows, the second of `ratio` times the time a token; their losses end at 3.0 and 2.5.

    A run has 6400 tokens in 100 steps.
    """

    def make(ratio=2.0, metric=MEAN, seeds=(0,), **others):
        outcomes = []
        for label, end, seconds in (("base", 3.0, 100.0), ("row", 2.5, 100.0 * ratio)):
            for seed in seeds:
                curves = {metric: line(5.0 + seed, end + seed)}
                metrics = {"perf/train_seconds": seconds * (1 + 0.5 * seed)}
                outcomes.append(finished(label, seed, end + seed, metrics=metrics, curves=curves, **others))
        return sweep(labels=("base", "row"), seeds=seeds, table=None), outcomes

    return make


def every(sweep, outcomes, known=None):
    results = Results(sweep, outcomes)
    return budgets(results, known or costs(results))


def only(sweep, outcomes, known=None):
    (found,) = every(sweep, outcomes, known)
    return found


def timed(measured, **of_row):
    """Costs of the two rows, timed in turn."""
    return Costs(
        (
            RowCost("base", True, None, None, None, measured()),
            RowCost("row", False, None, None, None, measured(**of_row) if of_row else None),
        )
    )


def table(report):
    (found,) = section(report, "At equal budgets").tables
    return found


def cells(report):
    return {line[0]: list(line[1:]) for line in table(report).rows}


def notes(report):
    return " ".join(table(report).notes)


def test_between_two_points_it_is_the_straight_line():
    curve = [(10.0, 5.0), (20.0, 3.0), (40.0, 2.0)]
    assert read_at(curve, 15.0) == 4.0 and read_at(curve, 25.0) == 2.75
    assert [read_at(curve, tokens) for tokens in (10.0, 20.0, 40.0)] == [5.0, 3.0, 2.0]
    assert read_at(curve, 9.9) is None and read_at(curve, 41.0) is None
    assert read_at(curve, 40.0 * (1 + 1e-12)) == 2.0, "rounding is not past the end"


def test_a_row_of_twice_the_time_is_read_at_half_its_tokens(made):
    found = only(*made()).readings
    row = found["time"]["row"]
    # At step 50 the row is at 5 - 2.5 / 2 = 3.75, and the baseline in the end at 3.
    assert row.cost.mean == 2 and row.read.mean == 0.5 and row.baseline_read.mean == 1
    assert row.value.mean == pytest.approx(3.75) and row.difference.mean == pytest.approx(0.75)
    assert found["tokens"]["row"].difference.mean == pytest.approx(-0.5)
    assert found["time"]["base"].value.mean == 3.0 and found["time"]["base"].difference is None


def test_a_cheaper_row_is_compared_with_an_earlier_baseline(made):
    row = only(*made(ratio=0.5)).readings["time"]["row"]
    # The row has spent all its time when the baseline was at step 50: 5 - 2 / 2 = 4.
    assert row.read.mean == 1 and row.baseline_read.mean == 0.5
    assert row.value.mean == 2.5 and row.difference.mean == pytest.approx(-1.5)


def test_a_run_of_fewer_tokens_is_compared_where_it_ends(made):
    sweep, (base, row) = made(ratio=0.5)
    # Half the run: from 5 to 3.75 in 3200 tokens. It took 50 s, as did 50 s of the baseline's 100.
    half = {"steps": 50, "tokens": 3200}
    short = replace(row, result={**row.result, **half}, curve={MEAN: line(5.0, 2.5)[:6]})
    found = only(sweep, [base, short]).readings
    at = found["tokens"]["row"]
    assert (at.read.mean, at.baseline_read.mean) == (1, 0.5)
    assert at.value.mean == pytest.approx(3.75) and at.difference.mean == pytest.approx(-0.25)
    twice = {"steps": 200, "tokens": 12800}
    long = replace(row, result={**row.result, **twice}, curve={MEAN: line(5.0, 2.5) + [(200, 2.0)]})
    at = only(sweep, [base, long]).readings["tokens"]["row"]
    assert (at.read.mean, at.baseline_read.mean) == (0.5, 1)
    assert at.value.mean == pytest.approx(2.5) and at.difference.mean == pytest.approx(-0.5)


def test_between_evaluations_it_is_interpolated(made):
    row = only(*made(ratio=1.25)).readings["time"]["row"]
    assert row.read.mean == pytest.approx(0.8) and row.value.mean == pytest.approx(5 - 2.5 * 0.8)
    row = only(*made(ratio=1.0 / 0.85)).readings["time"]["row"]
    assert row.value.mean == pytest.approx(5 - 2.5 * 0.85)


def test_pairs_and_intervals_are_over_seeds(made):
    sweep, outcomes = made(seeds=(0, 1))
    slower = replace(outcomes[3], metrics={**outcomes[3].metrics, "perf/train_seconds": 600.0})
    row = only(sweep, [*outcomes[:3], slower]).readings["time"]["row"]
    # Seed 1 takes 600 s against the 150 s of its own baseline: a quarter of the tokens.
    assert row.cost.count == 2 and row.cost.mean == 3
    expected = [3.75 - 3.0, 6.0 - 3.0 * 0.25 * 2.5 / 3.0 - 4.0]
    assert row.difference.mean == pytest.approx(sum(expected) / 2)
    assert row.difference.half_width is None, "nobody knows how far the clock of the runs can be trusted"


def test_the_clock_s_own_uncertainty_is_in_the_interval(made, measured):
    """Two seeds agree, so that the interval is that of the clock alone; a noisy clock decides nothing."""
    sweep, outcomes = made(seeds=(0, 1))
    for spread, decided in ((0.002, True), (1.2, False)):
        found = only(sweep, outcomes, timed(measured, step=1.6, step_low=1.6 - spread / 2, step_high=1.6 + spread / 2))
        row, half = found.readings["time"]["row"], 1.96 * 1.2533 * spread / 1.349 / math.sqrt(15)
        # The row falls by 2.5 over its run, of which it has spent 1 / 1.6 of its tokens.
        clock = 2.5 * (1 / (1.6 - half) - 1 / (1.6 + half)) / 2
        assert row.difference.mean == pytest.approx(5.0 - 2.5 / 1.6 - 3.0)
        assert row.difference.half_width == pytest.approx(clock, rel=1e-6)
        assert row.difference.beyond_noise is decided


def test_training_flops_are_those_of_the_recorded_configuration(costly):
    sweep, outcomes = costly()
    drawn = [replace(o, curve={MEAN: line(5.0, o.metrics[MEAN])}) for o in outcomes]
    known = costs(Results(sweep, drawn))
    base, row = (each.predicted.flops.training for each in known.rows)
    found = only(sweep, drawn, known).readings["flops"]["DHC×2"]
    assert row > base
    assert found.cost.mean == pytest.approx(row / base) and found.read.mean == pytest.approx(base / row)
    assert found.value.mean == pytest.approx(5.0 - 2.0 * base / row)
    assert found.difference.mean == pytest.approx(5.0 - 2.0 * base / row - 4.0)


def test_measured_steps_take_the_place_of_the_runs_own_time(made, measured):
    sweep, outcomes = made()
    found = only(sweep, outcomes, timed(measured, step=1.25))
    assert found.interleaved and found.readings["time"]["row"].cost.mean == 1.25
    assert found.readings["time"]["row"].read.mean == pytest.approx(0.8)
    assert only(sweep, outcomes, timed(measured)).readings["time"]["row"].cost is None


def test_the_smoothed_training_loss_stands_in_for_suites_that_were_not_evaluated_on_the_way(made):
    sweep, outcomes = made(metric=TRAINING)
    found = only(sweep, outcomes)
    assert found.smoothed and found.readings["time"]["row"].difference.mean == pytest.approx(0.75)
    once = [replace(o, curve={**o.curve, MEAN: [(100, 3.0)]}) for o in outcomes]
    assert only(sweep, once).metric == TRAINING
    often = [replace(o, curve={**o.curve, MEAN: line(6.0, 3.0)}) for o in outcomes]
    assert only(sweep, often).metric == MEAN


def test_an_average_that_spans_much_of_a_run_decides_nothing(made):
    """An average of 0.99 extends over 100 steps, which is the whole run; one of 0.9 over a tenth of it."""
    (said,) = [
        each for each in build(*made(metric=TRAINING, seeds=(0, 1)), "tiny").answer if "nothing can be said" in each
    ]
    assert "the average of the training loss spans 100 % of a run" in said and "evaluation.every" in said
    short = build(*made(metric="train/loss_ema9", seeds=(0, 1)), "tiny")
    assert "At equal tokens, smoothed training loss against base. Better: row." in short.answer


def test_a_seed_that_diverged_is_not_left_out(made):
    sweep, outcomes = made(seeds=(0, 1))

    def diverged(outcome):
        return replace(outcome, curve={MEAN: [*outcome.curve[MEAN][:-1], (100, math.nan)]})

    found = only(sweep, [*outcomes[:3], diverged(outcomes[3])])
    row = found.readings["tokens"]["row"]
    assert math.isnan(row.value.mean) and math.isnan(row.difference.mean) and row.difference.beyond_noise is None
    assert len(found.convergence["row"].ratios) == 2, "before it diverged"
    found = only(sweep, [outcomes[0], diverged(outcomes[1]), *outcomes[2:]])
    assert math.isnan(found.readings["tokens"]["row"].difference.mean)
    assert len(found.convergence["row"].ratios) == 1, "there is no loss of the other seed to reach"


def test_what_lies_before_the_first_evaluation_is_not_known(made):
    sweep, outcomes = made(ratio=4.0)
    late = [replace(o, curve={MEAN: o.curve[MEAN][5:]}) for o in outcomes]
    row = only(sweep, late).readings["time"]["row"]
    assert row.read.mean == 0.25 and row.value is None and row.difference is None


@pytest.mark.parametrize("change", [{"tokens": None}, {"steps": 200}])
def test_curves_without_tokens_or_without_an_end_are_no_use(made, change):
    sweep, outcomes = made(**change)
    assert every(sweep, outcomes) == ()


def test_without_the_baseline_or_without_others_there_is_nothing(made):
    sweep, outcomes = made()
    for some in (outcomes[:1], outcomes[1:], []):
        assert every(sweep, some) == ()


def test_convergence_is_the_baselines_tokens_over_those_of_the_row(made):
    found = only(*made(seeds=(0, 1))).convergence["row"]
    # 5 - 2.5 s / 100 = 3 at s = 80; one seed up, 6 - 2.5 s / 100 = 4, too.
    assert found.mean.mean == pytest.approx(1.25) and len(found.ratios) == 2 and found.not_reached == ()


def test_a_row_that_begins_below_has_a_lower_bound_of_the_ratio(made):
    sweep, outcomes = made(seeds=(0, 1))
    # One seed is at 2.9 where its curve begins, at step 20: sooner than 3, but nobody saw when.
    below = replace(outcomes[2], curve={MEAN: [(20, 2.9), (100, 2.5)]})
    report = build(sweep, [*outcomes[:2], below, outcomes[3]], "tiny")
    found = report.budgets[0].convergence["row"]
    assert found.at_least and found.mean.mean == pytest.approx((5 + 1.25) / 2) and found.mean.half_width is None
    assert cells(report)["row"][-1] == "≥ 3.12×" and "≥: already below that loss" in notes(report)
    assert "≥" not in notes(build(sweep, outcomes, "tiny")) and r"$\geq$ 3.12$\times$" in latex(report)


def test_a_seed_that_never_gets_there_leaves_no_mean(made):
    sweep, outcomes = made(seeds=(0, 1))
    worse = replace(outcomes[3], curve={MEAN: line(6.0, 4.5)})
    report = build(sweep, [*outcomes[:3], worse], "tiny")
    found = report.budgets[0].convergence["row"]
    assert found.mean is None and (len(found.ratios), found.not_reached) == (1, (1,))
    assert cells(report)["row"][-1] == "not reached by 1 of 2 seeds"


def test_the_table_says_what_was_read_where(made):
    sweep, outcomes = made(seeds=(0, 1))
    texts = cells(build(sweep, outcomes, "tiny"))
    assert texts["base"] == ["3.500 ± 6.353", "–", "–", "–", "–", "–"]
    assert texts["row"][2:4] == ["2.000", "50.0"] and texts["row"][4] == "+0.750"
    cheaper = build(*made(ratio=0.5), "tiny")
    assert cells(cheaper)["row"][3] == "100.0 (baseline 50.0)"
    assert "were not interleaved" in notes(cheaper) and "hcexp cost --sweep asked scale=tiny" in notes(cheaper)
    assert "11 evaluations a run" in notes(cheaper) and "straight line" in notes(cheaper)


def test_what_was_counted_has_no_interval_over_seeds(made, measured, monkeypatch):
    # Three times 1.1 have a mean, and a deviation, that are rounded.
    monkeypatch.setattr("hcexp.report.report.costs", lambda *_: timed(measured, step=1.1))
    report = build(*made(seeds=(0, 1, 2)), "tiny")
    (cell,) = [text for text in cells(report)["row"] if text.startswith("1.1")]
    assert cell == "1.100"


def test_the_training_loss_is_called_what_it_is(made):
    report = build(*made(metric=TRAINING), "tiny")
    assert "no suite was evaluated on the way" in notes(report)


@pytest.mark.parametrize(
    ("knobs", "said"), [((), "cosine to 10 %"), (("schedule=constant", "schedule.warmup=0"), None)]
)
def test_a_decayed_schedule_is_named_as_unfair(made, configuration, knobs, said):
    report = build(*made(config=configuration(*knobs)), "tiny")
    if said:
        assert f"Not quite fair: the learning rate decays ({said} of its peak" in notes(report)
        assert "row with steps=50 instead of 100" in notes(report)
        cheaper = build(*made(ratio=0.25, config=configuration(*knobs)), "tiny")
        assert "base with steps=25 instead of 100" in notes(cheaper)
        assert "is against the row: the learning rate decays (cosine to 10 % of its peak" in notes(report)
    else:
        assert "fair" not in notes(report) and "against the row" not in notes(report)


def test_the_convergence_ratio_is_against_the_row_at_equal_cost_too(made, configuration):
    report = build(*made(ratio=1.0, config=configuration()), "tiny")
    assert "Not quite fair" not in notes(report)
    assert "final loss of base, which has had all of the decay, it is still before the end of its own" in notes(report)


def test_the_answer_names_the_rows_at_each_budget(sweep, finished, measured, monkeypatch):
    # Over three seeds: one row is far better, one a little but takes twice the time, one far worse, one within noise.
    ends = {"base": [3.0, 3.1, 3.2], "far": [2.0, 2.1, 2.21], "slow": [2.9, 3.0, 3.11], "bad": [3.5, 3.6, 3.71]}
    ends["noisy"] = [3.1, 3.1, 3.1]
    outcomes = [
        finished(label, seed, end, curves={MEAN: line(5.0, end)}, metrics={"perf/train_seconds": 100.0})
        for label, by_seed in ends.items()
        for seed, end in enumerate(by_seed)
    ]
    asked = sweep(labels=tuple(ends), table=None), outcomes, "tiny"
    at_tokens = "At equal tokens, corpus loss against base. Better: far; slow. Not told apart: noisy. Worse: bad."
    assert build(*asked).answer == (
        at_tokens,
        "At equal measured time nothing can be said: the steps of these runs were not timed in turn.",
    )
    rows = [
        RowCost(label, label == "base", None, None, None, measured(step=2.0 if label == "slow" else 1.0))
        for label in ends
    ]
    monkeypatch.setattr("hcexp.report.report.costs", lambda *_: Costs(tuple(rows)))
    assert build(*asked).answer == (
        at_tokens,
        "At equal measured time, corpus loss against base. Better: far. Not told apart: noisy. Worse: slow; bad.",
    )


def test_runs_that_failed_have_no_part(made):
    sweep, outcomes = made()
    failed = replace(outcomes[1], state="failed", directory=Path())
    assert build(sweep, [outcomes[0], failed], "tiny").budgets == ()
