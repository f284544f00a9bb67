import pytest

from hcexp.report.report import build
from hcexp.study.sweep.sweep import Outcome
from tests.report.read import shown

VALUES = {"OLMo-1B": [4.0, 4.1], "DHC×1": [3.9, 4.0], "[red]x[/red]": [3.8, 3.95], "DHC×4": [3.9]}


@pytest.fixture
def report(sweep, losses, finished):
    broken = Outcome("DHC×4", 1, "failed", finished("x", 0, 1.0).directory, {}, "no [bold]memory[/bold]")
    return build(sweep(labels=tuple(VALUES), seeds=(0, 1)), [*losses(VALUES), broken], "tiny")


def test_values_stay_whole_and_labels_are_not_markup(report):
    text = shown(report, 120)
    assert "✗" in text and "2.819" in text and "−0.100 ± 0.000" in text and "[red]x[/red]" in text
    assert "DHC×4 †" in text and "DHC×4, seed 1: failed: no [bold]memory[/bold]" in text
    assert "Corpus loss against OLMo-1B. Better: DHC×1" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_wide_terminal_gets_every_column(report):
    assert "18.023" in shown(report, 250) and "18.023" not in shown(report, 120)
    assert "−0.100 ± 0.000" in shown(report, 60), "a narrow one gets longer lines, not half a number"
