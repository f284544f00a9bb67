import argparse

import pytest

from hcexp.cli.arguments import seeds, whole


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("3", (0, 1, 2)), ("1", (0,)), ("0,7", (0, 7)), ("7,", (7,)), ("5,2", (5, 2))],
)
def test_seeds_are_how_many_or_which(text, chosen):
    assert seeds(text) == chosen


@pytest.mark.parametrize("text", ["0", "", "a", "1,a", "-1", "0,-1", "1,1", "1.5", ","])
def test_what_names_no_seeds_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="how many .* or different ones of 0 or more"):
        seeds(text)


def test_whole_numbers():
    assert whole("12") == 12
    for text in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number, 1 or more"):
            whole(text)


@pytest.mark.parametrize("options", [["--seeds", "0"], ["--workers", "0"], ["--scael", "tiny"]])
def test_a_bad_option_is_refused_without_a_traceback(hcexp, options):
    status, _, err = hcexp("sweep", *options)
    assert status == 2 and "Traceback" not in err and "error: " in err.splitlines()[-1]
