import argparse

import pytest

from hcexp.cli.arguments import seeds, whole


def test_seeds_are_how_many_or_which():
    chosen = {"3": (0, 1, 2), "1": (0,), "0,7": (0, 7), "7,": (7,), "5,2": (5, 2)}
    assert {text: seeds(text) for text in chosen} == chosen and whole("12") == 12
    for kind, texts in {
        seeds: ("0", "", "a", "1,a", "-1", "0,-1", "1,1", "1.5", ","),
        whole: ("0", "-1", "1.5", ""),
    }.items():
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError, match="different ones of 0 or more|whole number, 1 or more"):
                kind(text)


def test_a_bad_option_is_refused_in_a_line(refused):
    for options in (["--seeds", "0"], ["--workers", "0"], ["--scael", "tiny"], ["sweep.tuned=tune"]):
        assert options[0].partition("=")[0] in refused("sweep", *options)
