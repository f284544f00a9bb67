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


def with_spikes(rng, length):
    series = 3 + 5 / np.sqrt(1 + np.arange(length)) + 0.05 * rng.standard_normal(length)
    where = rng.choice(length, size=length // 40, replace=False)
    series[where] += rng.choice([-1, 1], size=len(where)) * rng.uniform(0.2, 4, size=len(where))
    return series


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("knobs", [{}, {"threshold": 3.0, "window": 60, "warmup": 10}, {"window": 50}])
def test_is_the_literal_definition(seed, knobs):
    series = with_spikes(np.random.default_rng(seed), 1500)
    series[[3, 200, 201, 900]] = [math.nan, math.inf, -math.inf, math.nan]
    score, verdicts = SpikeScore(**knobs), literal(series, **knobs)
    assert math.isnan(score.score)
    assert run(score, series) == [bool(verdict) for verdict in verdicts]
    judged = [verdict for verdict in verdicts if verdict is not None]
    assert 3 < sum(judged) < len(judged) / 2, "a series that decides nothing"
    assert score.count == sum(judged) and score.judged == len(judged)
    assert score.score == sum(judged) / len(judged)


def test_an_enormous_spike_stays_in_the_window_and_hides_the_next_one():
    noise = np.random.default_rng(0).standard_normal(100).tolist()
    score = SpikeScore(window=200)
    assert sum(run(score, noise)) == 0
    assert run(score, [1000.0, 20.0]) == [True, False]
    for sudden in (20.0, -50.0):  # a drop is a spike
        assert run(SpikeScore(window=200), [*noise, sudden])[-1]


@pytest.mark.parametrize("constant", [0.0, 0.1, -2.3, 12345.678])
def test_a_constant_has_no_spikes_until_it_changes(constant):
    score = SpikeScore()
    assert not any(run(score, [constant] * 1500))
    assert score.score == 0
    assert score.update(constant + 1e-3)


@pytest.mark.parametrize("split", [0, 7, 50, 1000, 1203])
def test_a_restored_state_has_the_same_future_and_is_plain(split):
    series = with_spikes(np.random.default_rng(1), 1500)
    whole, first, second = SpikeScore(), SpikeScore(), SpikeScore()
    expected = run(whole, series)
    run(first, series[:split])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert run(second, series[split:]) == expected[split:]
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize("length", [30, 80, 100])
def test_a_state_of_another_window_is_refused(length):
    score = SpikeScore(window=80)
    run(score, range(length))
    other = SpikeScore(window=60 if length > 60 else 20, warmup=10)
    with pytest.raises(ValueError, match="spike window"):
        other.load_state_dict(score.state_dict())
