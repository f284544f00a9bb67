"""What AdamW's knobs may be."""

from math import inf, nan

import pytest

from hcexp.optim import AdamW


@pytest.mark.parametrize(
    ("knob", "values", "allowed"),
    [
        ("lr", (0.0, -1.0, inf, nan), "greater than 0, and finite"),
        ("eps", (-1e-8, inf, nan), "0 or more, and finite"),
        ("weight_decay", (-0.1, inf, nan), "0 or more, and finite"),
        (
            "betas",
            ([2, 3], [0.9, 1.0], [-0.1, 0.9], [0.9, nan], [0.9], [0.9] * 3, 0.9, None, "ab"),
            "two numbers, each 0 or more and less than 1",
        ),
    ],
)
def test_values_out_of_range_are_named_and_the_ends_of_the_ranges_allowed(knob, values, allowed):
    for value in values:
        with pytest.raises(ValueError) as refused:
            AdamW(**{"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1, knob: value})
        given = f"{value:g}" if isinstance(value, float) and knob != "betas" else value
        assert str(refused.value) == f"optimizer.{knob}={given} must be {allowed}"
    AdamW(lr=1e-3, betas=(0, 0.0), eps=0.0, weight_decay=0.0)
