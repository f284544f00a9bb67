"""The learning rate's course."""

from math import cos, pi

import pytest
import torch
from hydra.errors import InstantiationException

from hcexp.configuration import compose, instantiate
from hcexp.optim import Schedule

# Steps of warm-up of the steps that each scale has.
WARMUP = {"tiny": 25, "20m": 320, "60m": 460, "150m": 580, "300m": 1200, "1b": 2000, "7b": 5000}


def composed(scale, *overrides):
    return instantiate(compose([f"scale={scale}", *overrides]).schedule)


def test_the_warm_up_is_a_share_of_the_steps_unless_it_is_given():
    assert {scale: composed(scale).warmup for scale in WARMUP} == WARMUP
    for steps in (10, 1):  # of fewer than the scale's own warm-up
        schedule = composed("7b", f"steps={steps}")
        assert schedule.warmup < steps and schedule.factor(schedule.warmup) == 1
    assert composed("tiny", "steps=10", "schedule.warmup=7").warmup == 7
    assert composed("tiny", "schedule.warmup=0").warmup == 0
    with pytest.raises(InstantiationException, match="schedule.warmup=7 counts steps: .* less than steps=7"):
        composed("tiny", "steps=7", "schedule.warmup=7")
    # The last step is no warm-up.
    assert Schedule(1, warmup_share=0.9).warmup == 0 and Schedule(5, "constant").warmup == 0


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_warms_up_to_the_peak_and_ends_at_the_fraction(shape):
    schedule = Schedule(100, shape, warmup=10, min_lr_ratio=0.1)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1) and factors[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in zip(factors[10:], factors[11:], strict=False))
    progress = (40 - 10) / (99 - 10)
    middle = (1 + cos(pi * progress)) / 2 if shape == "cosine" else 1 - progress
    assert factors[40] == pytest.approx(0.1 + 0.9 * middle)


def test_drives_an_optimizer():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = Schedule(4, "linear", warmup=1, min_lr_ratio=0.5)(optimizer)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([2.0, 2.0, 1.5, 1.0])
    assert {Schedule(9, "constant").factor(step) for step in range(9)} == {1.0}


def test_values_that_make_no_course_are_named():
    for knobs, message in {
        "shape=triangle": "cosine",
        "warmup=-1": "0 or more",
        "warmup=10": "steps=10",
        "min_lr_ratio=1.5": "between 0 and 1",
        "warmup_share=1.0": "less than 1",
        "warmup_share=-0.1": "0 or more",
        "steps=0": "1 or more",
    }.items():
        name, value = knobs.split("=")
        value = value if name == "shape" else float(value) if "." in value else int(value)
        with pytest.raises(ValueError, match=f"{knobs} .*{message}"):
            Schedule(**{"steps": 10, name: value})
