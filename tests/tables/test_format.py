from math import inf, nan

from hcexp.tables.format import clock, short

RATES = {0.4: "0", 987.2: "987", 999.6: "1k", 12345: "12.3k", 123456: "123k", 4.56e6: "4.56M", 2e12: "2000G", nan: "-"}
SECONDS = {31: "0:00:31", 59.7: "0:01:00", 93784: "26:03:04", inf: "-"}


def test_rates_have_three_digits_and_a_unit_and_durations_a_clock():
    assert {number: short(number) for number in RATES} == RATES
    assert {seconds: clock(seconds) for seconds in SECONDS} == SECONDS
