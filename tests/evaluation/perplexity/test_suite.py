import gzip
import math

import pytest
import torch

from hcexp.data import LocalSource, corpus
from hcexp.evaluation import PerplexitySuite
from hcexp.evaluation.perplexity.windows import IGNORED
from tests.evaluation.models import Bigram


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    (folder / "short.txt").write_text("a few words")
    (folder / "long words.jsonl").write_text('{"text": "many more — words 🙂", "body": "x"}\n' * 50)
    with gzip.open(folder / "c4.en.jsonl.gz", "wt") as file:
        file.write('{"text": "compressed", "body": "y"}\n')
    return folder


@pytest.fixture(scope="module")
def make(folder, data, tmp_path_factory):
    """Makes a suite of the folder that is ready to be scored."""
    cache = tmp_path_factory.mktemp("cache")

    def make(length=16, **knobs):
        suite = PerplexitySuite("local", files=folder, **knobs)
        suite.prepare(data(length), cache)
        return suite

    return make


def counted(suite):
    """The targets of each set."""
    return [sum(int((targets != IGNORED).sum()) for _, targets in loader) for loader in suite.loaders()]


@pytest.mark.parametrize("world_size", [1, 3])
def test_the_metrics_of_a_uniform_model(make, tokenizer, world_size):
    suite = make()
    assert (suite.name, suite.headline) == ("local", "local/mean/loss")
    assert suite.parts == ["c4.en", "long words", "short"]  # every file is a set named by its stem
    meters = suite.meters()
    for rank in range(world_size):
        for loader, meter in zip(suite.loaders(rank, world_size), meters, strict=True):
            for batch in loader:
                meter.update(lambda tokens: torch.zeros(*tokens.shape, 4096), batch)
    results = suite.metrics({part: meter.results() for part, meter in zip(suite.parts, meters, strict=True)})
    assert list(results) == [
        f"local/{name}/{key}" for name in (*suite.parts, "mean") for key in ("loss", "perplexity", "bits_per_byte")
    ]
    for name in (*suite.parts, "mean"):
        assert results[f"local/{name}/loss"] == pytest.approx(math.log(4096))
        assert results[f"local/{name}/perplexity"] == pytest.approx(4096, rel=1e-5)
    documents = ["many more — words 🙂"] * 50
    tokens = sum(len(ids) + 1 for ids in tokenizer.encode(documents))  # one EOS a document
    bits = 12 * tokens / sum(len(document.encode()) for document in documents)
    assert results["local/long words/bits_per_byte"] == pytest.approx(bits)


def test_a_set_alone_scores_as_by_hand(make):
    suite, model = make(batch_size=3), Bigram()
    for part, loader in zip(suite.parts, suite.loaders(), strict=True):
        nats = [
            torch.nn.functional.cross_entropy(model.rows(inputs).mT, targets, reduction="none")[targets != IGNORED]
            for inputs, targets in loader
        ]
        assert max(len(inputs) for inputs, _ in loader) <= 3
        found = suite.score(model, part)
        assert found["loss"] == pytest.approx(torch.cat(nats).mean().item(), rel=1e-5)
        assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert model.training and model.dropout.training


def test_the_mean_is_arithmetic_of_perplexities_too_and_of_what_all_sets_have(folder):
    suite = PerplexitySuite("v3", sets={"a": folder / "short.txt", "b": folder / "short.txt"})
    scored = {"a": {"loss": 1.0, "perplexity": math.e, "bits_per_byte": 2.0}, "b": {"loss": 3.0, "perplexity": 20.0}}
    results = suite.metrics(scored)
    assert results["v3/mean/loss"] == 2
    assert results["v3/mean/perplexity"] == pytest.approx((math.e + 20) / 2)
    assert "v3/a/bits_per_byte" in results and "v3/mean/bits_per_byte" not in results


def test_budgets_bound_each_set(make, tokenizer):
    assert max(counted(make(4, max_tokens=9))) == counted(make(4, max_tokens=9))[1] == 8  # the first is not predicted
    texts = [["compressed"], ["many more — words 🙂"] * 2, ["a few words"]]
    assert counted(make(4, documents=2)) == [sum(len(ids) + 1 for ids in tokenizer.encode(of)) for of in texts]


def test_the_shipped_sets(data, tmp_path):
    suite = PerplexitySuite("corpus", sets="shipped")
    assert suite.parts == ["drama", "factbook", "novel", "speeches"]
    suite.prepare(data(256), tmp_path)
    assert [meter.text_bytes for meter in suite.meters()] == [129_486, 119_192, 66_380, 116_041]
    trained = {document.text for document in LocalSource(corpus.TRAIN).read()}
    held_out = {document.text for document in LocalSource(corpus.VALIDATION).read()}
    assert len(held_out) == 20 and not trained & held_out


def test_a_set_may_name_all_that_a_source_takes(folder):
    sets = {"web": {"hub": "some/dataset", "split": "validation", "revision": "0" * 40},
            "own": [folder / "long words.jsonl"],
            "body": {"files": folder / "long words.jsonl", "column": "body"}}  # fmt: skip
    suite = PerplexitySuite("v2", sets=sets, column="text")
    assert str(suite.sets["web"]).startswith("some/dataset/validation")
    assert [suite.sets[name].source.column for name in sets] == ["text", "text", "body"]


def test_fingerprints_know_names_contents_and_budget(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"words of {name}")
    suites = [
        PerplexitySuite("local", files=tmp_path),
        PerplexitySuite("local", files=tmp_path, max_tokens=5),
        PerplexitySuite("local", files=tmp_path, documents=5),
        PerplexitySuite("local", files=tmp_path / "a.txt"),
        PerplexitySuite("local", sets={"other": tmp_path / "a.txt"}),
        PerplexitySuite("corpus", sets="shipped"),
    ]
    assert len({suite.fingerprint for suite in suites}) == 6
    assert len({suite.fingerprint_of(part) for suite in suites[:3] for part in suite.parts}) == 6
    assert PerplexitySuite("local", files=tmp_path, batch_size=2, every=3).fingerprint == suites[0].fingerprint
    before = suites[0].fingerprint_of("b")
    (tmp_path / "b.txt").write_text("other words")
    changed = PerplexitySuite("local", files=tmp_path)
    assert changed.fingerprint_of("a") == suites[0].fingerprint_of("a") and changed.fingerprint_of("b") != before


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"suite": "V2"}, r"evaluation\.suite='V2': allowed are v2, v3, corpus, local"),
        ({"max_tokens": 1}, r"evaluation\.max_tokens=1: allowed is at least 2"),
        ({"documents": 0}, r"evaluation\.documents=0: allowed is at least 1"),
        ({"batch_size": 0}, r"evaluation\.batch_size=0"),
        ({"every": 0}, r"evaluation\.every=0"),
        ({"files": None}, r"evaluation\.sets=None, evaluation\.files=None: give one"),
        ({"sets": "shipped"}, "give one of the two"),
        ({"files": None, "sets": "ship"}, r"evaluation\.sets='ship': allowed are 'shipped'"),
        ({"files": None, "sets": {"mean": "a.txt"}}, "named 'mean'"),
        ({"files": None, "sets": {"a/b": "a.txt"}}, "named 'a/b'"),
    ],
)
def test_knobs_that_are_not_allowed(folder, knobs, message):
    with pytest.raises(ValueError, match=message):
        PerplexitySuite(**{"suite": "local", "files": folder, **knobs})


def test_files_that_make_no_suite(tmp_path, folder):
    with pytest.raises(RuntimeError, match="suite local is not prepared"):
        PerplexitySuite("local", files=folder).loaders()
    with pytest.raises(FileNotFoundError, match="none"):
        PerplexitySuite("local", files=tmp_path / "none")
    for name in ("short.txt", "short.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="are both named 'short'; rename one"):
        PerplexitySuite("local", files=tmp_path)
