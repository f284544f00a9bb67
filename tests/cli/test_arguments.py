import argparse

import pytest

from hcexp.cli.arguments import seeds, whole


def test_seeds_are_how_many_or_which():
    chosen = {"3": (0, 1, 2), "1": (0,), "0,7": (0, 7), "7,": (7,), "5,2": (5, 2)}
    assert {text: seeds(text) for text in chosen} == chosen
    for text in ("0", "", "a", "1,a", "-1", "0,-1", "1,1", "1.5", ","):
        with pytest.raises(argparse.ArgumentTypeError, match="how many .* or different ones of 0 or more"):
            seeds(text)


def test_whole_numbers():
    assert whole("12") == 12
    for text in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number, 1 or more"):
            whole(text)


def test_a_bad_option_is_refused_without_a_traceback(hcexp):
    for options in (["--seeds", "0"], ["--workers", "0"], ["--scael", "tiny"]):
        status, _, err = hcexp("sweep", *options)
        assert status == 2 and "Traceback" not in err and "error: " in err.splitlines()[-1]
