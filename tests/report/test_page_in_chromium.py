"""The page in a real browser: errors, requests, hovering, toggling, widths, and both colour schemes."""

import json
import re

import pytest

from tests.report.chromium import PROGRAM, Chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="there is no chromium: apt-get install chromium"),
]

WIDTHS = (400, 1600)

# Every visible text with its size in CSS pixels, and its contrast (WCAG 2.2) to what stands behind it.
TEXTS = """
(() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (front, back) => front.rgb.map((value, at) => front.a * value + (1 - front.a) * back[at]);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const lineage = (node) => (node ? [...lineage(node.parentElement), node] : []);
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), element = walk.currentNode.parentElement;
    if (!text || element.closest("script, noscript, option, .hidden") || !element.checkVisibility()) continue;
    let back = [255, 255, 255], opacity = 1;
    for (const each of lineage(element)) {
      const style = getComputedStyle(each);
      back = over(parse(style.backgroundColor), back);
      opacity *= style.opacity;
    }
    const style = getComputedStyle(element), colour = parse(element.closest("svg") ? style.fill : style.color);
    const front = over({ rgb: colour.rgb, a: colour.a * opacity }, back);
    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    found.push({ text, size: parseFloat(style.fontSize), contrast: (high + 0.05) / (low + 0.05) });
  }
  return found;
})()
"""
DRAWN = (
    "[...document.querySelectorAll('#curves .plot path.line:not(.seed)')].map((path) => path.getAttribute('stroke'))"
)
READ = "[...document.querySelectorAll('#curves .legend button')].map((b) => [...b.children].at(-1).textContent)"
MIDDLE = """
((selector, at = 0) => {
  const element = document.querySelectorAll(selector)[at];
  element.scrollIntoView({ block: "center" });
  const box = element.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
})
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(whole_page, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(whole_page, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def quiet(chromium):
    """Whatever a test does, the page asks for nothing and complains of nothing."""
    yield
    assert chromium.problems == []
    assert [address for address in chromium.requests if not address.startswith("file:")] == []
    assert len(chromium.requests) == 1, chromium.requests


def middle(chromium, selector, at=0):
    return chromium.run(f"{MIDDLE}({json.dumps(selector)}, {at})")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_readable_at_every_width_in_both_schemes(chromium, page, width, dark):
    chromium.open(page, width, dark=dark)
    chromium.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    texts = chromium.run(TEXTS)
    assert len(texts) > 300 and any(each["text"] == "OLMo-1B" for each in texts)
    assert {each["text"] for each in texts if each["size"] < 11.5} == set()
    assert {each["text"] for each in texts if each["contrast"] < 4.5} == set()
    light = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", light)[0]) < 64) == dark


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways_and_wide_tables_do_in_their_boxes(chromium, page, width):
    chromium.open(page, width)
    chromium.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert chromium.run("document.documentElement.scrollWidth") <= width
    boxes = chromium.run(
        "[...document.querySelectorAll('.scroll')].map((box) => {"
        "  box.scrollLeft = 1e6;"
        "  const wide = box.scrollWidth > box.clientWidth, label = box.querySelector('tbody th');"
        "  const at = label.getBoundingClientRect().left - box.getBoundingClientRect().left;"
        "  return { wide, moved: box.scrollLeft > 0, at };"
        "})"
    )
    assert len(boxes) == 6 and all(box["wide"] == box["moved"] for box in boxes)
    assert all(abs(box["at"]) < 1 for box in boxes), "the labels stay in sight"
    # Equal budgets, comparisons and cost need no scrolling where there is room.
    assert [boxes[at]["wide"] for at in (1, 2, 5)] == 3 * [width == 400]


def test_a_click_on_a_name_hides_and_shows_its_curve(chromium, page):
    chromium.open(page, 1600)
    before = chromium.run(DRAWN)
    assert len(before) == 5 and len(set(before)) == 5
    chromium.point(*middle(chromium, "#curves .legend button", 4), click=True)
    chromium.point(1, 1)
    hidden = chromium.run(DRAWN)
    assert len(hidden) == 4 and set(hidden) < set(before)
    chromium.point(*middle(chromium, "#curves .legend button", 4), click=True)
    chromium.point(1, 1)
    assert chromium.run(DRAWN) == before


def test_hovering_over_the_curves_reads_their_values_there(chromium, page):
    chromium.open(page, 1600)
    at_the_end = chromium.run(READ)
    assert all(re.fullmatch(r"\d\.\d{3}", value) for value in at_the_end)
    x, y = middle(chromium, "#curves .plot svg")
    chromium.point(x, y)
    half = chromium.run(READ)
    assert all(float(a) > float(b) + 0.02 for a, b in zip(half, at_the_end, strict=True))
    assert re.match(r"at \d+k tokens", chromium.run("document.querySelector('#curves .cursor').textContent"))
    assert chromium.run("document.querySelectorAll('#curves .pointer circle').length") == 5
    chromium.point(1, 1)
    assert chromium.run(READ) == at_the_end


def test_the_difference_and_another_metric_are_drawn(chromium, page):
    chromium.open(page, 1600)
    chromium.point(*middle(chromium, "#curves [data-view=difference]"), click=True)
    assert chromium.run(READ)[0] == "0.000" and chromium.run(READ)[4].startswith("−0.0")
    choice = "document.querySelector('#curves select')"
    chromium.run(f"{choice}.value = 1; {choice}.dispatchEvent(new Event('change'))")
    assert "corpus suite" in chromium.run("document.querySelector('#curves .what').textContent")
    assert chromium.run("document.querySelectorAll('#curves .plot circle').length") == 4 * 10


def test_the_matrices_are_drawn(chromium, page):
    chromium.open(page, 1600)
    assert chromium.run("document.querySelector('img.matrices').naturalWidth") > 300


def test_an_error_of_the_page_would_be_seen(chromium, page, tmp_path):
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8").replace("</main>", "</main><script>nowhere()</script>", 1)
    broken.write_text(text.replace("</main>", '</main><img src="http://127.0.0.1:9/x.png">', 1), encoding="utf-8")
    chromium.open(broken)
    # The page's own policy refuses the image, which is an error in the console.
    assert len(chromium.problems) == 2 and chromium.requests[1:] == ["http://127.0.0.1:9/x.png"]
    chromium.problems.clear()
    chromium.requests.pop()
