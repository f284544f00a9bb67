from dataclasses import replace
from pathlib import Path

import pytest

from hcexp.study.sweep.sweep import Outcome, Row, Sweep


def test_an_outcome_has_a_known_state_and_says_how_it_ended_and_a_changed_sweep_is_checked_too():
    with pytest.raises(ValueError, match="'done': allowed are finished, failed, pruned, missing"):
        Outcome("a", 0, "done", Path())
    assert Outcome("a", 0, "missing", Path()).ending == "missing"
    assert Outcome("a", 0, "failed", Path(), error="no room").ending == "failed: no room"
    assert Outcome("a", 0, "pruned", Path(), result={"steps": 100}).ending == "pruned at step 100"
    with pytest.raises(ValueError, match="sweep mine: seed 1 is given more than once"):
        replace(Sweep("mine", "A question", 1, "base", (Row("base"),)), seeds=(1, 1))
