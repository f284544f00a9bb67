import io
from pathlib import Path

import pytest
from rich.console import Console

from hcexp.report import build, html, markdown, show
from hcexp.study.sweep.sweep import Outcome


@pytest.fixture
def pruned():
    return Outcome("DHC×4", 0, "pruned", Path(), result={"steps": 40})


def test_the_state_says_how_far_a_run_came(pruned):
    assert pruned.ending == "pruned at step 40"
    assert Outcome("DHC×4", 0, "failed", Path(), error="loss is nan").ending == "failed: loss is nan"
    assert Outcome("DHC×4", 0, "missing", Path()).ending == "missing"


def test_a_pruned_run_is_named_everywhere_and_has_no_part_in_the_numbers(sweep, losses, pruned):
    report = build(sweep(seeds=(0,)), [*losses({"OLMo-1B": [4.0], "DHC×2": [3.9]}), pruned], "tiny")
    console = Console(file=io.StringIO(), width=120)
    show(report, console)
    assert "DHC×4, seed 0: pruned at step 40" in markdown(report)
    assert "DHC×4, seed 0: pruned at step 40" in console.file.getvalue()
    assert "<dt>DHC×4, seed 0</dt><dd><b>pruned at step 40</b></dd>" in html(report)
    assert report.rows[3].finished == () and report.rows[3].measures["corpus/mean/loss"].value is None
