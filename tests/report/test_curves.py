import math

import pytest

from hcexp.report.curves import figure, figures, thin

TRAINING = "train/loss_ema99"


def test_thinning_keeps_ends_and_spikes():
    curve = [(step, 3.0 + 0.001 * math.sin(step)) for step in range(10_000)]
    curve[4321] = (4321, 9.0)
    curve[7000] = (7000, 1.0)
    thinned = thin(curve)
    assert len(thinned) <= 400
    assert {curve[0], curve[-1], (4321, 9.0), (7000, 1.0)} <= set(thinned)
    assert list(thinned) == sorted(thinned) and set(thinned) <= set(curve)


@pytest.mark.parametrize("length", [0, 1, 2, 399, 400, 401, 500])
def test_thinning_of_short_curves(length):
    curve = [(step, float(step)) for step in range(length)]
    assert len(thin(curve)) == min(length, len(thin(curve))) <= 400
    assert (thin(curve) == tuple(curve)) == (length <= 400)


def test_means_and_paired_differences(sweep, finished):
    made = [
        finished("OLMo-1B", 0, 1.0, curve=[(0, 8.0), (10, 4.0)]),
        finished("OLMo-1B", 1, 1.0, curve=[(0, 9.0), (10, 5.0)]),
        finished("DHC×4", 0, 1.0, curve=[(0, 8.0), (10, 3.5)]),
        finished("DHC×4", 1, 1.0, curve=[(0, 9.0), (10, 4.75), (20, 1.0)]),
    ]
    drawn = figure(sweep(seeds=(0, 1)), made, TRAINING)
    baseline, row = drawn.rows
    assert (baseline.label, baseline.is_baseline, baseline.difference) == ("OLMo-1B", True, ())
    # 6400 tokens in 100 steps: 64 a step. Step 20 has one seed alone, so no mean.
    assert drawn.axis == "tokens"
    assert baseline.mean == ((0, 8.5), (640, 4.5))
    assert row.mean == ((0, 8.5), (640, 4.125))
    assert row.difference == ((0, 0.0), (640, -0.375))
    assert row.seeds[1][-1] == (1280, 1.0)


def test_steps_where_tokens_are_unknown(sweep, finished):
    made = finished("OLMo-1B", 0, 1.0, curve=[(0, 8.0), (10, math.nan), (20, 4.0)], tokens=None)
    drawn = figure(sweep(), [made], TRAINING)
    assert drawn.axis == "steps" and drawn.rows[0].mean == ((0, 8.0), (20, 4.0))


def test_no_curves(sweep, finished):
    assert figures(sweep(), [finished("OLMo-1B", 0, 1.0)]) == ()


def test_the_training_loss_comes_first_and_means_before_their_parts(sweep, finished):
    twice = [(10, 5.0), (20, 4.0)]
    names = ["v3/pile/loss", "v3/mean/loss", "downstream/copa/accuracy", "downstream/mean/accuracy", "train/loss_ema9"]
    made = finished("OLMo-1B", 0, 1.0, curves=dict.fromkeys(names, twice))
    found = [each.metric for each in figures(sweep(), [made])]
    assert found == ["train/loss_ema9", "v3/mean/loss", "v3/pile/loss", *reversed(names[2:4])]


def test_what_was_evaluated_once_has_no_curve(sweep, finished):
    one, two = [(20, 4.0)], [(10, 5.0), (20, 4.0)]
    made = [
        finished("OLMo-1B", 0, 1.0, curves={"v3/pile/loss": two, "v3/mean/loss": one}),
        finished("DHC×4", 0, 1.0, curves={"v3/pile/loss": one, "train/loss_ema99": one}),
    ]
    training, pile = figures(sweep(), made)
    assert training.metric == TRAINING and [row.label for row in training.rows] == ["DHC×4"]
    assert pile.metric == "v3/pile/loss" and [row.label for row in pile.rows] == ["OLMo-1B"]
    assert pile.rows[0].mean == ((640, 5.0), (1280, 4.0))
