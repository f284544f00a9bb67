import json
import os

import pytest

from hcexp.run.scores import Evaluation, ScoreCache, conditions, evaluations


class Counting:
    """A benchmark that says how often its parts were measured; `content` is what is in them."""

    parts = ("a", "b")

    def __init__(self, content="x", name="local", broken=False):
        self.content, self.name, self.broken, self.measured = content, name, broken, []

    def fingerprint_of(self, part):
        return self.content

    def score(self, model, part, *, watch=iter):
        if self.broken:
            raise RuntimeError("out of memory")
        self.measured.append(part)
        return {"loss": float(len(self.measured)), "perplexity": float("inf")}

    def metrics(self, scored):
        return {f"local/{part}/loss": scored[part]["loss"] for part in self.parts}


UNDER = {"documents": None, "max_tokens": None, "precision": "32-true"}


def test_a_part_is_measured_once_and_anew_for_other_weights_or_another_content(tmp_path):
    kept, benchmark = ScoreCache(tmp_path, 6, "weights"), Counting()
    with pytest.raises(RuntimeError):
        kept.score(None, Counting(broken=True), "a")
    assert not kept.has(benchmark, "a") and not list(tmp_path.rglob("*.*"))
    for again in (kept, ScoreCache(tmp_path, 6, "weights")):
        assert [again.score(None, benchmark, part)["loss"] for part in "ab"] == [1, 2]
    assert benchmark.measured == ["a", "b"] and all(kept.has(benchmark, part) for part in "ab")
    assert kept.score(None, benchmark, "a")["perplexity"] == float("inf")
    others = (7, "weights", {}), (6, "others", {}), (6, "weights", {"content": "y"}), (6, "weights", {"name": "corpus"})
    for step, model, knobs in others:
        other = Counting(**knobs)
        anew = ScoreCache(tmp_path, step, model)
        assert not anew.has(other, "a")
        anew.score(None, other, "a")
        assert other.measured == ["a"]


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
    config = {"evaluation": {"documents": 5, "max_tokens": 9}, "downstream": {"documents": 7}}
    config["trainer"] = {"precision": "bf16-mixed"}
    for benchmark, documents, tokens in (("v3", 5, 9), ("harness/piqa", 5, None), ("downstream", 7, None)):
        expected = {"documents": documents, "max_tokens": tokens, "precision": "bf16-mixed"}
        assert conditions(config, benchmark) == expected
    older = {"evaluation": {"max_tokens": None}, "trainer": {"precision": "32-true"}}
    assert conditions(older, "downstream") == conditions(older, "v3") == UNDER
