from dataclasses import replace
from pathlib import Path

import pytest

from hcexp.study.search.space import Space
from hcexp.study.sweep.sweep import Outcome, Row, Sweep

SWEEP = Sweep("mine", "A question", 1, "base", (Row("base"), Row("other")))


def test_what_is_changed_later_is_checked_too():
    search = Space({"optimizer.lr": {"low": 0.1, "high": 0.2}}, trials=3)
    wrong = {
        "sweep mine: seed 1 is given more than once": {"seeds": (1, 1)},
        r"a search has one seed, not 2: .* sweep\.tuned=mine": {"seeds": (7, 8), "search": search},
        r"label 'a\\x1b' has a control character": {"rows": (Row("base"), Row("a\x1b"))},
    }
    for said, changed in wrong.items():
        with pytest.raises(ValueError, match=said):
            replace(SWEEP, **changed)


def test_an_outcome_has_a_known_state_and_says_how_it_ended():
    with pytest.raises(ValueError, match="'done': allowed are finished, failed, pruned, missing"):
        Outcome("a", 0, "done", Path())
    assert Outcome("a", 0, "missing", Path()).ending == "missing"
    assert Outcome("a", 0, "failed", Path(), error="no room").ending == "failed: no room"
    assert Outcome("a", 0, "pruned", Path(), result={"steps": 100}).ending == "pruned at step 100"
