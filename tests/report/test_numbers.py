import math

import pytest

from hcexp.analysis.statistics import Estimate
from hcexp.report.numbers import as_printed, with_interval
from hcexp.tables.format import fixed, more, unit


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "text"),
    [
        (2.8111, 3, False, "2.811"),
        (-0.0114, 3, True, "−0.011"),
        (0.0114, 3, True, "+0.011"),
        (-0.0004, 3, True, "0.000"),
        (0.0004, 3, True, "0.000"),
        (1234.5, 1, False, "1,234.5"),
        (math.nan, 3, False, "NaN"),
        (-math.inf, 3, False, "−∞"),
    ],
)
def test_fixed(value, decimals, signed, text):
    assert fixed(value, decimals, signed) == text


def test_an_interval_is_written_only_if_there_is_one():
    assert with_interval(Estimate(-0.02, 0.004, 0.1, 3), 3, signed=True) == "−0.020 ± 0.004"
    assert with_interval(Estimate(-0.02, None, None, 1), 3, signed=True) == "−0.020"
    assert with_interval(None, 3) == "–"


def test_the_papers_numbers_get_their_zeros_back():
    assert as_printed(18.27, "v2_ppl") == "18.270" and as_printed(2.52, "v3_loss") == "2.520"
    assert as_printed(63.0, "downstream_accuracy") == "63.0" and as_printed(None, "v2_loss") == "–"


def test_more_is_in_percent_and_signed():
    assert more(1_177_158_464, 1_176_764_416, 5) == "+0.03349"
    assert more(9, 10, 1) == "−10.0" and more(5, 5, 2) == "0.00"


@pytest.mark.parametrize(("number", "found"), [(2.35e9, ("G", 1e9)), (1e8, ("G", 1e9)), (3.1e6, ("M", 1e6))])
def test_a_unit_leaves_no_number_without_digits(number, found):
    assert unit(number) == found
