import io

import pytest
from rich.console import Console

from hcexp.report import build, show
from hcexp.study.sweep.sweep import Outcome

VALUES = {"OLMo-1B": [4.0, 4.1], "DHC×1": [3.9, 4.0], "[red]x[/red]": [3.8, 3.95], "DHC×4": [3.9]}


def shown(report, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(report, console)
    return console.file.getvalue()


@pytest.fixture
def report(sweep, losses, finished):
    broken = Outcome("DHC×4", 1, "failed", finished("x", 0, 1.0).directory, {}, "no [bold]memory[/bold]")
    return build(sweep(labels=tuple(VALUES), seeds=(0, 1)), [*losses(VALUES), broken], "tiny")


@pytest.mark.parametrize("width", [60, 80, 120, 250])
def test_no_line_is_wider_than_the_terminal(report, width):
    assert max(map(len, shown(report, width).splitlines())) <= width


def test_values_stay_on_one_line_where_there_is_room(report):
    text = shown(report, 120)
    assert "✗" in text and "2.819" in text and "−0.100 ± 0.000" in text
    assert "DHC×4 †" in text and "DHC×4, seed 1: failed: no [bold]memory[/bold]" in text


def test_a_wide_terminal_gets_every_column(report):
    assert "18.023" in shown(report, 250) and "18.023" not in shown(report, 120)


def test_labels_are_not_markup(report):
    assert "[red]x[/red]" in shown(report, 250)
