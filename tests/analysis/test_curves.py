import math

from hcexp.analysis.curves import curve, is_average, mean_metrics, part_metrics, spikes
from hcexp.run.history import Point


def points(metric, values, first=10, per_step=64):
    return [Point(metric, step, step * per_step, value) for step, value in enumerate(values, first)]


def test_a_curve_is_one_metric_over_tokens():
    rows = points("train/loss", [3.0, 2.0, math.nan]) + points("train/loss_ema99", [4.0])
    assert curve(rows, "train/loss") == [(640, 3.0), (704, 2.0)] and curve(rows, "other") == []
    assert is_average("train/loss_ema99") and not is_average("train/loss")


def test_a_spike_is_where_the_count_grows():
    assert spikes(points("train/spikes", [0, 0, 1, 1, 3])) == [12 * 64, 14 * 64]
    assert spikes(points("train/spikes", [2, 2])) == [640] and spikes([]) == []


def test_what_was_measured_once_has_no_curve_and_the_mean_is_no_part():
    rows = points("v3/mean/loss", [3, 2]) + points("v2/mean/loss", [3]) + points("v3/pile/loss", [3])
    rows += points("downstream/piqa/accuracy", [0.5, 0.6]) + points("train/loss", [3, 2])
    assert mean_metrics(rows) == ["v3/mean/loss"]
    assert part_metrics(rows) == ["v3/pile/loss", "downstream/piqa/accuracy"]
