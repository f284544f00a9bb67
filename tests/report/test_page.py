import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hcexp.report.render import html
from hcexp.report.report import build
from hcexp.study.sweep.sweep import Outcome

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & {{ 7 * 7 }}'
# `wbr` and the like never close.
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Elements with their attributes, the text of scripts, and whether every element was closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open[-1:] == ["script"] else self.texts).append(data)


@pytest.fixture
def report(sweep, finished):
    """Two seeds of three rows, one of them with a hostile label, one point failed with a hostile error."""

    def make(labels=("OLMo-1B", EVIL, "DHC×4")):
        points = [
            finished(
                label, seed, 4.0 - 0.1 * index + 0.01 * seed * index, curve=[(s, 9.0 - s / 100) for s in range(700)]
            )
            for index, label in enumerate(labels)
            for seed in (0, 1)
        ]
        points[-1] = Outcome(labels[-1], 1, "failed", Path(), {}, EVIL, f"hcexp train {EVIL}")
        return build(sweep(labels=labels, seeds=(0, 1), title=f"Title {EVIL}"), points, "tiny")

    return make


def test_the_page_is_well_formed_and_self_contained(report):
    text = html(report())
    page = Page(text)
    assert page.open == [] and text.startswith("<!doctype html>")
    assert not {"link", "img", "iframe", "base", "object"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action", "style"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert "://" not in text and "@import" not in text and not re.search(r"url\((?!#)", text)
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "unsafe-eval" not in policy


def test_hostile_labels_errors_and_titles_are_text(report):
    page = Page(html(report()))
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert len(scripts) == 2 and len(page.scripts) == 2, "the data and the code, and no third"
    shown = "".join(page.texts)
    assert shown.count(EVIL) >= 4, "title, label, error and command are shown as they are"


def test_the_question_comes_right_after_the_title(sweep):
    text = html(build(sweep(question=EVIL), [], "tiny"))
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert tags[tags.index("h1") + 1] == "p" and page.elements[tags.index("h1") + 1][1] == {"class": "question"}
    assert EVIL in page.texts and "script" not in tags
    assert 'class="question"' not in html(build(sweep(), [], "tiny"))


def test_what_answers_no_table_is_only_called_measured(sweep):
    assert ">Paper beside measured</h2>" in html(build(sweep(), [], "tiny"))
    assert ">Measured</h2>" in html(build(sweep(table=None), [], "tiny"))


def test_the_data_parses_and_gives_the_label_back(report):
    built = report()
    page = Page(html(built))
    raw = page.scripts[0]
    assert "<" not in raw and ">" not in raw and "&" not in raw
    data = json.loads(raw)
    assert [row["label"] for row in data["rows"]] == list(built.results.labels)
    (metric,) = data["metrics"]
    assert metric["axis"] == "tokens" and data["rows"][0]["baseline"] is True
    for row in metric["rows"]:
        assert all(len(curve) <= 400 for curve in (row["mean"], row["difference"], *row["seeds"]))
        assert row["mean"][0] == [0, 9.0]


def test_one_hostile_label_changes_no_element(report):
    tags = [tag for tag, _ in Page(html(report())).elements]
    assert tags == [tag for tag, _ in Page(html(report(("OLMo-1B", "plain", "DHC×4")))).elements]


def test_the_header_spans_what_stands_below_it(report):
    text = html(report())
    head = text[text.index("<thead>") : text.index("</thead>")]
    first, second = head.split('<th scope="col"', 1)
    spans = sum(int(number) for number in re.findall(r'colspan="(\d+)"', first))
    columns = 1 + second.count('<th scope="col"')
    assert 1 + spans == columns
    body = text[text.index("<tbody>") : text.index("</tbody>")].split("<tr")[1:]
    assert {line.count("<td") + line.count("<th") for line in body} == {columns}


def test_the_table_needs_no_script(report):
    text = html(report())
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert "−0.200" in outside and "2.781" in outside and "<noscript>" in outside


def test_drawn_intervals_lie_inside_and_in_order(report):
    lines = re.findall(r'class="interval" x1="([\d.]+)" x2="([\d.]+)".*?class="mean" x1="([\d.]+)"', html(report()))
    assert lines
    for low, high, mean in lines:
        assert 0 <= float(low) <= float(mean) <= float(high) <= 100


def test_budgets_are_drawn_on_one_scale(whole_page):
    section = whole_page[whole_page.index(">At equal budgets") :].partition("<h2")[0]
    zeros = set(re.findall(r'class="zero" x1="([\d.]+)"', section))
    assert len(zeros) == 1 and section.count('class="mean"') == 3 * 4


def test_the_page_begins_with_the_answer_and_folds_what_is_long(whole_page):
    text = whole_page
    places = [
        text.index(each) for each in ('class="answer"', 'id="curves"', ">Paper beside measured</h2>", "<details>")
    ]
    assert places == sorted(places) and "<details open" not in text
    assert "corpus loss of each set</summary>" in text
    (drawing,) = re.findall(r'<img class="matrices"[^>]*src="data:image/svg[^"]*"', text)
    assert "DHC×2, seed 0; DHC×4, seed 0" in drawing and "DHC%C3%974%2C%20seed%200" in drawing


def test_without_curves_there_is_no_figure_and_no_script(sweep, losses):
    text = html(build(sweep(), losses({"OLMo-1B": [4.0]}), "tiny"))
    assert "<script" not in text and "No finished run has a recorded training curve." in text


def test_nothing_measured_and_no_table_make_a_page(sweep):
    for page in (html(build(sweep(), [], "tiny")), html(build(sweep(table=None), [], "tiny"))):
        assert Page(page).open == []


def test_values_that_are_not_finite_make_a_page(sweep, losses):
    values = {"OLMo-1B": [4.0, 4.1], "DHC×4": [float("nan"), 4.0]}
    text = html(build(sweep(seeds=(0, 1)), losses(values, curve=[(0, 8.0), (1, float("nan"))]), "tiny"))
    assert "NaN" not in "".join(Page(text).scripts) and ">NaN<" in text
