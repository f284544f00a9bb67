import json
import os

import pytest

from hcexp.run.scores import Evaluation, ScoreCache, conditions, evaluations


class Counting:
    """A benchmark that says how often its parts were measured; `content` is what is in them."""

    name = "local"
    parts = ("a", "b")

    def __init__(self, content="x"):
        self.content, self.measured = content, []

    def fingerprint_of(self, part):
        return self.content

    def score(self, model, part, *, watch=iter):
        self.measured.append(part)
        return {"loss": float(len(self.measured)), "perplexity": float("inf")}

    def metrics(self, scored):
        return {f"local/{part}/loss": scored[part]["loss"] for part in self.parts}


UNDER = {"documents": None, "max_tokens": None, "precision": "32-true"}


def test_a_part_is_measured_once(tmp_path):
    benchmark = Counting()
    for _ in range(2):
        kept = ScoreCache(tmp_path, 6, "weights")
        assert [kept.score(None, benchmark, part)["loss"] for part in "ab"] == [1, 2]
    assert benchmark.measured == ["a", "b"]
    assert all(kept.has(benchmark, part) for part in "ab")
    assert kept.score(None, benchmark, "a")["perplexity"] == float("inf")


@pytest.mark.parametrize(
    ("step", "model", "content"), [(7, "weights", "x"), (6, "others", "x"), (6, "weights", "y")], ids=str
)
def test_other_weights_or_another_content_are_measured_anew(tmp_path, step, model, content):
    ScoreCache(tmp_path, 6, "weights").score(None, Counting(), "a")
    kept, benchmark = ScoreCache(tmp_path, step, model), Counting(content)
    assert not kept.has(benchmark, "a")
    kept.score(None, benchmark, "a")
    assert benchmark.measured == ["a"]
    other = Counting()
    other.name = "corpus"
    assert not kept.has(other, "a")


def test_a_measurement_that_breaks_off_leaves_nothing(tmp_path):
    class Broken(Counting):
        def score(self, model, part, *, watch=iter):
            raise RuntimeError("out of memory")

    kept = ScoreCache(tmp_path, 6, "weights")
    with pytest.raises(RuntimeError):
        kept.score(None, Broken(), "a")
    assert not kept.has(Broken(), "a") and not list(tmp_path.rglob("*.*"))


def test_whole_benchmarks_come_in_the_order_in_which_they_were_measured(tmp_path):
    written = []
    for step, content in ((6, "x"), (4, "y"), (5, "z")):
        kept, benchmark = ScoreCache(tmp_path, step, "weights"), Counting(content)
        for part in "ab":
            kept.score(None, benchmark, part)
        whole = kept.whole(benchmark, UNDER)
        assert whole == Evaluation("local", step, UNDER, {"local/a/loss": 1.0, "local/b/loss": 2.0})
        kept.keep(benchmark, whole._replace(tracked=True))
        (path,) = [p for p in (tmp_path / "evaluations").glob("*.json") if json.loads(p.read_text())["step"] == step]
        os.utime(path, ns=(10**9 * len(written),) * 2)
        written.append(step)
        assert kept.whole(benchmark, UNDER).tracked
    assert [evaluation.step for evaluation in evaluations(tmp_path)] == written
    assert evaluations(tmp_path / "none") == []


def test_conditions_are_how_much_is_read_and_the_precision():
    config = {
        "evaluation": {"documents": 5, "max_tokens": 9},
        "downstream": {"documents": 7},
        "trainer": {"precision": "bf16-mixed"},
    }
    assert conditions(config, "v3") == {"documents": 5, "max_tokens": 9, "precision": "bf16-mixed"}
    assert conditions(config, "harness/piqa") == {"documents": 5, "max_tokens": None, "precision": "bf16-mixed"}
    assert conditions(config, "downstream") == {"documents": 7, "max_tokens": None, "precision": "bf16-mixed"}
    older = {"evaluation": {"max_tokens": None}, "trainer": {"precision": "32-true"}}
    assert conditions(older, "downstream") == conditions(older, "v3") == UNDER
