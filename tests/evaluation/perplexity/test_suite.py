import gzip
import math

import pytest
import torch

from hcexp.data import LocalSource, corpus
from hcexp.evaluation import PerplexitySuite
from hcexp.evaluation.perplexity.windows import IGNORED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    (folder / "short.txt").write_text("a few words")
    (folder / "long words.jsonl").write_text('{"text": "many more — words 🙂", "body": "x"}\n' * 50)
    with gzip.open(folder / "c4.en.jsonl.gz", "wt") as file:
        file.write('{"text": "compressed", "body": "y"}\n')
    return folder


@pytest.fixture
def make(folder, data, tmp_path):
    """Makes a suite of the folder that is ready to be scored."""

    def make(length=4, **knobs):
        suite = PerplexitySuite("local", files=folder, **knobs)
        suite.prepare(data(length), tmp_path / "cache")
        return suite

    return make


def test_the_metrics_of_a_uniform_model(make, tokenizer):
    suite = make(16)
    assert (suite.name, suite.headline) == ("local", "local/mean/loss")
    assert suite.parts == ["c4.en", "long words", "short"]  # every file is a set named by its stem
    meters = suite.meters()
    for rank in range(3):
        for loader, meter in zip(suite.loaders(rank, 3), meters, strict=True):
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


def test_budgets_bound_each_set_and_batches(make, tokenizer):
    def counted(suite):
        return [sum(int((targets != IGNORED).sum()) for _, targets in loader) for loader in suite.loaders()]

    assert max(counted(make(max_tokens=9))) == counted(make(max_tokens=9))[1] == 8  # the first is not predicted
    texts = [["compressed"], ["many more — words 🙂"] * 2, ["a few words"]]
    assert counted(make(documents=2)) == [sum(len(ids) + 1 for ids in tokenizer.encode(of)) for of in texts]
    assert max(len(inputs) for loader in make(batch_size=3).loaders() for inputs, _ in loader) == 3


def test_the_shipped_sets(data, tmp_path):
    suite = PerplexitySuite("corpus", sets="shipped")
    assert suite.parts == ["drama", "factbook", "novel", "speeches"]
    suite.prepare(data(256), tmp_path)
    assert [meter.text_bytes for meter in suite.meters()] == [129_486, 119_192, 66_380, 116_041]
    trained, held_out = ({d.text for d in LocalSource(of).read()} for of in (corpus.TRAIN, corpus.VALIDATION))
    assert len(held_out) == 20 and not trained & held_out


def test_a_set_may_name_all_that_a_source_takes_and_a_mean_is_of_what_all_sets_have(folder):
    files = folder / "long words.jsonl"
    web = {"hub": "some/dataset", "split": "validation", "revision": "0" * 40}
    suite = PerplexitySuite("v2", sets={"web": web, "own": [files], "body": {"files": files, "column": "body"}})
    assert str(suite.sets["web"]).startswith("some/dataset/validation")
    assert [one.source.column for one in suite.sets.values()] == ["text", "text", "body"]
    results = suite.metrics({"web": {"loss": 1.0, "bits_per_byte": 2.0}, "own": {"loss": 3.0}, "body": {"loss": 8.0}})
    assert results["v2/mean/loss"] == 4 and "v2/mean/bits_per_byte" not in results


def test_fingerprints_know_names_contents_and_budget(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"words of {name}")
    whole, *others = [PerplexitySuite("local", files=tmp_path, **k) for k in ({}, {"max_tokens": 5}, {"documents": 5})]
    assert len({suite.fingerprint_of(part) for suite in (whole, *others) for part in "ab"}) == 6
    others += [PerplexitySuite("local", files=tmp_path / "a.txt"), PerplexitySuite("corpus", sets="shipped")]
    others += [PerplexitySuite("local", sets={"other": tmp_path / "a.txt"})]
    assert len({suite.fingerprint for suite in (whole, *others)}) == 6
    assert PerplexitySuite("local", files=tmp_path, batch_size=2, every=3).fingerprint == whole.fingerprint
    before = whole.fingerprint_of("b")
    (tmp_path / "b.txt").write_text("other words")
    changed = PerplexitySuite("local", files=tmp_path)
    assert changed.fingerprint_of("a") == whole.fingerprint_of("a") and changed.fingerprint_of("b") != before


def test_what_is_not_allowed_or_not_ready(tmp_path, folder):
    for knobs, message in (
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
    ):
        with pytest.raises(ValueError, match=message):
            PerplexitySuite(**{"suite": "local", "files": folder, **knobs})
    with pytest.raises(RuntimeError, match="suite local is not prepared"):
        PerplexitySuite("local", files=folder).loaders()
    with pytest.raises(FileNotFoundError, match="none"):
        PerplexitySuite("local", files=tmp_path / "none")
    for name in ("short.txt", "short.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="are both named 'short'; rename one"):
        PerplexitySuite("local", files=tmp_path)
