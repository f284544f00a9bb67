import math

from hcexp.analysis.curves import averages, curve, mean_metrics, part_metrics, spikes
from hcexp.analysis.tables import frame


def points(first=10, **metrics):
    """Curves by the names of their metrics, `__` for a slash."""
    named = {metric.replace("__", "/"): values for metric, values in metrics.items()}
    rows = [(m, step, 64 * step, value) for m, values in named.items() for step, value in enumerate(values, first)]
    return frame("curves", rows)


def test_a_curve_is_one_metric_over_tokens():
    rows = points(train__loss=[3.0, 2.0, math.nan], train__loss_ema99=[4.0])
    assert curve(rows, "train/loss") == [(640, 3.0), (704, 2.0)] and curve(rows, "other") == []
    assert averages(rows) == ["train/loss_ema99"] and curve(points(), "train/loss") == []


def test_a_spike_is_where_the_count_grows():
    assert spikes(points(train__spikes=[0, 0, 1, 1, 3])) == [12 * 64, 14 * 64]
    assert spikes(points(train__spikes=[2, 2])) == [640] and spikes(points()) == []


def test_what_was_measured_once_has_no_curve_and_the_mean_is_no_part():
    rows = points(
        v3__mean__loss=[3, 2],
        v2__mean__loss=[3],
        v3__pile__loss=[3],
        downstream__piqa__accuracy=[0.5, 0.6],
        train__loss=[3, 2],
    )
    assert mean_metrics(rows) == ["v3/mean/loss"]
    assert part_metrics(rows) == ["v3/pile/loss", "downstream/piqa/accuracy"]
