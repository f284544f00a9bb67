import json
import math

import numpy as np
import pytest

from hcexp.callbacks import SpikeScore


def literal(series, threshold=7.0, window=1000, warmup=50):
    """The definition, word by word: None where nothing is judged."""
    verdicts, earlier = [], []
    for value in series:
        last = earlier[-window:]
        if len(last) < warmup:
            verdicts.append(None)
        elif not math.isfinite(value):
            verdicts.append(True)
        else:
            away = abs(value - np.mean(last))
            verdicts.append(bool(away >= threshold * np.std(last) and away > 1e-12 * abs(np.mean(last))))
        if math.isfinite(value):
            earlier.append(value)
    return verdicts


def run(score, series):
    return [score.update(value) for value in series]


def with_spikes(seed):
    rng, length = np.random.default_rng(seed), 1500
    series = 3 + 5 / np.sqrt(1 + np.arange(length)) + 0.05 * rng.standard_normal(length)
    where = rng.choice(length, size=length // 40, replace=False)
    series[where] += rng.choice([-1, 1], size=len(where)) * rng.uniform(0.2, 4, size=len(where))
    return series


@pytest.mark.parametrize("knobs", [{}, {"threshold": 3.0, "window": 60, "warmup": 10}, {"window": 50}])
def test_is_the_literal_definition(knobs):
    for seed in range(2):
        series = with_spikes(seed)
        series[[3, 200, 201, 900]] = [math.nan, math.inf, -math.inf, math.nan]
        score, verdicts = SpikeScore(**knobs), literal(series, **knobs)
        assert math.isnan(score.score)
        whole, found = SpikeScore(**knobs), []
        for part in np.split(series, [7, 50, 1203]):  # it may be saved, and go on
            score, before = SpikeScore(**knobs), score
            score.load_state_dict(json.loads(json.dumps(before.state_dict())))
            found += run(score, part)
        assert found == run(whole, series) == [bool(verdict) for verdict in verdicts]
        assert score.state_dict() == whole.state_dict()
        judged = [verdict for verdict in verdicts if verdict is not None]
        assert 3 < sum(judged) < len(judged) / 2, "a series that decides nothing"
        assert (score.count, score.judged) == (sum(judged), len(judged))
        assert score.score == sum(judged) / len(judged)


@pytest.mark.parametrize("constant", [0.0, 0.1, -2.3, 12345.678])
def test_a_constant_has_no_spikes_until_it_changes(constant):
    score = SpikeScore()
    assert not any(run(score, [constant] * 1500)) and score.score == 0
    assert score.update(constant + 1e-3)


@pytest.mark.parametrize(("length", "window"), [(30, 20), (80, 60), (100, 60)])
def test_a_state_of_another_window_is_refused(length, window):
    score = SpikeScore(window=80)
    run(score, range(length))
    with pytest.raises(ValueError, match="spike window"):
        SpikeScore(window=window, warmup=10).load_state_dict(score.state_dict())
