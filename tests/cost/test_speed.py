import itertools
from functools import partial

import pytest

from hcexp.cost import speed
from hcexp.cost.speed import interleave, ratio, ratio_quartiles


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the steps move."""
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    return now


def test_steps_are_called_in_turn_after_their_warmup_and_each_call_is_timed(clock):
    calls, durations = [], {"a": itertools.count(1), "b": itertools.count(10, 10)}

    def step(name):
        calls.append(name)
        clock[0] += next(durations[name])

    seconds = interleave({name: partial(step, name) for name in durations}, rounds=3, warmup=2)
    assert seconds == {"a": [3, 4, 5], "b": [30, 40, 50]} and "".join(calls) == "aabb" + "ab" * 3
    with pytest.raises(ValueError, match="^rounds=0 must be 1 or more$"):
        interleave({"a": lambda: None}, rounds=0)


def test_ratio_is_the_median_of_the_rounds_ratios():
    # A machine that slows down by ten leaves it as it is; so does one hiccup.
    assert ratio([2, 20, 200], [1, 10, 100]) == 2
    assert ratio([2, 2, 900, 2, 2], [1, 1, 1, 1, 1]) == 2
    assert ratio([3, 4, 10], [1, 2, 10]) == 2


def test_quartiles_are_those_of_the_rounds_ratios():
    # Ratios 1, 2, 3, 4, 5: the quartiles are the second and the fourth.
    assert ratio_quartiles([5, 4, 30, 2, 1], [1, 1, 10, 1, 1]) == (2, 4)
    assert ratio_quartiles([3], [2]) == (1.5, 1.5)
    for of in (ratio, ratio_quartiles):
        with pytest.raises(ValueError):
            of([1, 2], [1])
