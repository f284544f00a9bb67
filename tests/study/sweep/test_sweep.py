from dataclasses import replace
from pathlib import Path

import pytest

from hcexp.study.search.space import Space
from hcexp.study.sweep.sweep import Outcome, Row, Sweep

SWEEP = Sweep("mine", "A question", 1, "base", (Row("base"), Row("other")))


def test_other_seeds_are_checked_too():
    assert replace(SWEEP, seeds=(0, 1)).seeds == (0, 1)
    with pytest.raises(ValueError, match="sweep mine: seed 1 is given more than once"):
        replace(SWEEP, seeds=(1, 1))


def test_a_search_has_one_seed():
    search = replace(SWEEP, search=Space({"optimizer.lr": {"low": 0.1, "high": 0.2}}, trials=3), seeds=(7,))
    with pytest.raises(ValueError, match=r"a search has one seed, not 2: .* sweep\.tuned=mine"):
        replace(search, seeds=(7, 8))


def test_an_outcome_has_a_known_state():
    with pytest.raises(ValueError, match="'done': allowed are finished, failed, pruned, missing"):
        Outcome("a", 0, "done", Path())


def test_an_outcome_says_how_it_ended():
    assert Outcome("a", 0, "missing", Path()).ending == "missing"
    assert Outcome("a", 0, "failed", Path(), error="no room").ending == "failed: no room"
    assert Outcome("a", 0, "pruned", Path(), result={"steps": 100}).ending == "pruned at step 100"
