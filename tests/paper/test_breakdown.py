from itertools import product
from statistics import fmean

import pytest

from hcexp.paper import breakdown, listing, table

STEADY = [name for name in listing(13)["downstream"] if name not in listing(13)["volatile_inferred"]]


def test_the_sets_are_spelled_as_the_suites_have_them():
    for suite, measure in product(("v2", "v3"), ("loss", "perplexity")):
        found = breakdown(suite, measure)
        assert sorted(found.columns) == sorted([*listing(13)[suite], "mean"])
        assert all(set(row) >= set(found.columns) for row in found.rows)


def test_the_tasks_are_those_of_the_mean():
    found = breakdown("downstream", "accuracy")
    assert sorted(found.columns) == sorted([*STEADY, "mean"])
    for row in found.rows:
        assert row["mean"] == pytest.approx(fmean(row[name] for name in STEADY), abs=0.051)


def test_exchanged_labels_are_put_right():
    right = breakdown("v3", "loss").row("DHC×4 W/O tanh")
    assert right["mean"] == table(18).row("DHC×2 W/O tanh")["avg"] != table(18).row("DHC×4 W/O tanh")["avg"]


def test_what_the_paper_does_not_have():
    assert breakdown("corpus", "loss") is breakdown("v2", "bits_per_byte") is breakdown("downstream", "loss") is None
