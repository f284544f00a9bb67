import re

import pytest

from hcexp.report import build, markdown
from hcexp.report.markdown import escape
from hcexp.study.sweep.sweep import Outcome

VALUES = {"OLMo-1B": [4.0, 4.1], "DHC×1": [4.02, 4.13], "DHC×2": [3.99, 4.08], "DHC×4": [3.9, 4.01]}


def first_table(text):
    return text[text.index("\n| ") :].strip().split("\n\n")[0].splitlines()


def test_the_table_has_as_many_cells_in_every_line(sweep, losses):
    text = markdown(build(sweep(seeds=(0, 1)), losses(VALUES), "tiny"))
    lines = first_table(text)
    assert len(lines) == 2 + len(VALUES)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "| **OLMo-1B** | 2.811 | 18.023 |" in text


def test_everything_that_was_asked_is_in_it(sweep, losses, finished):
    broken = Outcome("DHC×4", 1, "failed", finished("x", 0, 1.0).directory, {}, "out of memory", "hcexp train …")
    report = build(sweep(seeds=(0, 1)), [*losses({**VALUES, "DHC×4": [3.9]}), broken], "tiny")
    text = markdown(report)
    assert text.startswith("# A question\n")
    assert "- DHC×4, seed 1: failed: out of memory" in text
    assert "E1 (Table 1, DHC×2 W/O tanh" in text
    assert "```sh\nmake sweep SWEEP=asked SCALE=tiny SEEDS=2\n```" in text
    assert "<details>" in text and "hcexp train label=DHC×2 seed=1" in text
    assert "- **hardware**: a processor, 2 cores" in text
    assert "## Ranking by corpus loss" in text and "| DHC×4 | 1 | 3.900 | " in text


def test_equal_budgets_have_a_table_and_every_table_its_cells(whole_report):
    text = markdown(whole_report)
    assert "## At equal budgets: corpus loss" in text and "steps=" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    assert len(tables) == 6  # paper beside measured, budgets, ranking, loss and perplexity of the sets, cost
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_question_comes_first(sweep):
    asked = build(sweep(question="Is *it*\nbetter?"), [], "tiny")
    assert markdown(asked).startswith("# A question\n\nIs \\*it\\* better?\n\nsweep asked · ")
    assert markdown(build(sweep(), [], "tiny")).startswith("# A question\n\nsweep asked · ")


@pytest.mark.parametrize("text", ["a|b", "<script>x</script>", "*a* _b_ `c` [d](e)", "one\ntwo", "back\\slash"])
def test_labels_and_errors_are_text(text):
    made = escape(text)
    assert "<" not in made and "\n" not in made
    assert not re.search(r"(?<!\\)[*_`|\[\]]", made)


def test_a_label_cannot_break_the_table(sweep, losses):
    labels = ("base", "a | b </td><script>")
    text = markdown(build(sweep(labels=labels, seeds=(0,)), losses({label: [4.0] for label in labels}), "tiny"))
    lines = first_table(text)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<script>" not in "\n".join(lines)


def test_commands_with_backticks_stay_in_their_fence(sweep):
    text = markdown(build(sweep(), [], "tiny", command="echo ```; rm"))
    assert "````sh\necho ```; rm\n````" in text
