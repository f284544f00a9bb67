"""The learning rate's course."""

from math import cos, pi

import pytest
import torch

from hcexp.optim import Schedule


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_warms_up_to_the_peak_and_ends_at_the_fraction(shape):
    schedule = Schedule(100, shape, warmup=10, final=0.1)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1) and factors[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in zip(factors[10:], factors[11:], strict=False))
    progress = (40 - 10) / (99 - 10)
    middle = (1 + cos(pi * progress)) / 2 if shape == "cosine" else 1 - progress
    assert factors[40] == pytest.approx(0.1 + 0.9 * middle)


def test_constant_stays():
    assert {Schedule(9, "constant").factor(step) for step in range(9)} == {1.0}


def test_drives_an_optimizer():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = Schedule(4, "linear", warmup=1, final=0.5)(optimizer)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([2.0, 2.0, 1.5, 1.0])


@pytest.mark.parametrize(
    "knobs, message",
    [
        ({"shape": "triangle"}, "schedule.shape=triangle"),
        ({"warmup": -1}, "schedule.warmup=-1"),
        ({"warmup": 10}, "schedule.warmup=10 .* steps=10"),
        ({"final": 1.5}, "schedule.final=1.5"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_values_that_make_no_course_are_named(knobs, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"steps": 10, **knobs})
