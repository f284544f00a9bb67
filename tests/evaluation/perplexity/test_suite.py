import gzip
import math

import pytest
import torch

from hcexp.data import corpus
from hcexp.evaluation import Suite
from hcexp.evaluation.perplexity.windows import IGNORED


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "short.txt").write_text("a few words")
    (folder / "long words.jsonl").write_text('{"text": "many more — words 🙂", "body": "x"}\n' * 50)
    with gzip.open(folder / "c4.en.jsonl.gz", "wt") as file:
        file.write('{"text": "compressed", "body": "y"}\n')
    return folder


def uniform(suite: Suite, world_size: int = 1, vocabulary_size: int = 4096) -> dict[str, float]:
    """The results of a model that gives every token the same probability."""
    losses = suite.losses()
    for rank in range(world_size):
        for loader, loss in zip(suite.dataloaders(rank, world_size), losses, strict=True):
            for _, targets in loader:
                tokens = (targets != IGNORED).sum()
                loss.update(tokens * math.log(vocabulary_size), tokens)
    return suite.results(losses)


def test_every_file_is_a_set_named_by_its_stem(folder):
    suite = Suite("local", files=folder)
    assert suite.name == "local"
    assert suite.names == ["c4.en", "long words", "short"]


@pytest.mark.parametrize("world_size", [1, 3])
def test_the_metrics_of_a_uniform_model(folder, tokenizer, tmp_path, world_size):
    suite = Suite("local", files=folder)
    suite.prepare(tokenizer, tmp_path / "cache", sequence_length=16)
    results = uniform(suite, world_size)
    keys = [f"local/{name}/{key}" for name in suite.names + ["mean"]
            for key in ("loss", "perplexity", "bits_per_byte")]  # fmt: skip
    assert list(results) == keys
    for name in suite.names + ["mean"]:
        assert results[f"local/{name}/loss"] == pytest.approx(math.log(4096))
        assert results[f"local/{name}/perplexity"] == pytest.approx(4096)
    documents = ["many more — words 🙂"] * 50
    tokens = sum(len(ids) + 1 for ids in tokenizer.encode(documents))  # one EOS a document
    bits = 12 * tokens / sum(len(document.encode()) for document in documents)
    assert results["local/long words/bits_per_byte"] == pytest.approx(bits)


class Bigram(torch.nn.Module):
    """Logits of a token are its row; in training mode they are worthless."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.rows = torch.nn.Embedding.from_pretrained(torch.randn(4096, 4096, generator=generator))
        self.dropout = torch.nn.Dropout(1.0)

    def forward(self, tokens):
        assert not torch.is_grad_enabled()
        return self.dropout(self.rows(tokens))


def test_a_set_alone_scores_as_in_the_suite(folder, tokenizer, tmp_path):
    suite, model = Suite("local", files=folder, batch_size=3), Bigram()
    suite.prepare(tokenizer, tmp_path / "cache", sequence_length=16)
    losses = suite.losses()
    for loader, loss in zip(suite.dataloaders(), losses, strict=True):
        for inputs, targets in loader:
            nats = torch.nn.functional.cross_entropy(model.rows(inputs).mT, targets, reduction="none")
            loss.update(nats[targets != IGNORED].sum(), (targets != IGNORED).sum())
    watched = []
    scored = {
        part: suite.score(model, part, watch=lambda loader: watched.append(loader) or loader) for part in suite.parts
    }
    assert suite.metrics(scored) == pytest.approx(suite.results(losses), rel=1e-5)
    assert [len(loader) for loader in watched] == [len(loader) for loader in suite.dataloaders()]
    assert model.training and model.dropout.training


def test_a_set_has_a_fingerprint_of_its_own(folder):
    suites = [
        Suite("local", files=folder),
        Suite("local", files=folder, documents=5),
        Suite("local", files=folder, max_tokens=5),
    ]
    assert len({suite.fingerprint_of(part) for suite in suites for part in suite.parts}) == 9
    before = suites[0].fingerprint_of("c4.en")
    (folder / "short.txt").write_text("other words")
    changed = Suite("local", files=folder)
    assert changed.fingerprint_of("c4.en") == before
    assert changed.fingerprint_of("short") != suites[0].fingerprint_of("short")


def test_the_mean_is_arithmetic_of_perplexities_too(folder, tokenizer, tmp_path):
    suite = Suite("v3", sets={"a": folder / "short.txt", "b": folder / "long words.jsonl"})
    suite.prepare(tokenizer, tmp_path / "cache", sequence_length=16)
    losses = suite.losses()
    for loss, nats in zip(losses, (1.0, 3.0), strict=True):
        loss.update(torch.tensor(nats), 1)
    results = suite.results(losses)
    assert results["v3/mean/loss"] == pytest.approx(2)
    assert results["v3/mean/perplexity"] == pytest.approx((math.e + math.e**3) / 2)
    bits = (results["v3/a/bits_per_byte"] + results["v3/b/bits_per_byte"]) / 2
    assert results["v3/mean/bits_per_byte"] == pytest.approx(bits)


def test_a_budget_bounds_each_set(folder, tokenizer, tmp_path):
    suite = Suite("local", files=folder, max_tokens=9)
    suite.prepare(tokenizer, tmp_path / "cache", sequence_length=4)
    counted = [sum(int((targets != IGNORED).sum()) for _, targets in loader) for loader in suite.dataloaders()]
    assert max(counted) == 8  # of 9 tokens the first is not predicted
    assert counted[1] == 8


def test_a_look_at_the_first_documents_of_each_set(folder, tokenizer, tmp_path):
    suite = Suite("local", files=folder, documents=2)
    suite.prepare(tokenizer, tmp_path / "cache", sequence_length=4)
    texts = {"short": ["a few words"], "long words": ["many more — words 🙂"] * 2, "c4.en": ["compressed"]}
    for name, loader in zip(suite.names, suite.dataloaders(), strict=True):
        tokens = sum(len(ids) + 1 for ids in tokenizer.encode(texts[name]))
        assert sum(int((targets != IGNORED).sum()) for _, targets in loader) == tokens


def test_the_shipped_sets(tokenizer, tmp_path):
    suite = Suite("embedded", sets="shipped")
    assert suite.names == ["drama", "factbook", "novel", "speeches"]
    suite.prepare(tokenizer, tmp_path, sequence_length=256)
    assert [loss.text_bytes for loss in suite.losses()] == [129_486, 119_192, 66_380, 116_041]


def test_a_set_may_name_all_that_a_source_takes(folder):
    sets = {"web": {"hub": "some/dataset", "split": "validation", "revision": "0" * 40},
            "own": [folder / "long words.jsonl"],
            "body": {"files": folder / "long words.jsonl", "column": "body"}}  # fmt: skip
    suite = Suite("v2", sets=sets, column="text")
    assert str(suite.sets["web"]) == "some/dataset/validation"
    assert [suite.sets[name].source.column for name in sets] == ["text", "text", "body"]


def test_the_batch_size_is_the_suites_unless_given(folder, tokenizer, tmp_path):
    suite = Suite("local", files=folder / "long words.jsonl", batch_size=3, every=7)
    for given, expected in ((None, 3), (5, 5)):
        suite.prepare(tokenizer, tmp_path / "cache", 8, given)
        assert len(next(iter(suite.dataloaders()[0]))[0]) == expected
    assert suite.every == 7


def test_the_fingerprint_knows_names_contents_and_budget(folder, tmp_path):
    suites = [
        Suite("local", files=folder),
        Suite("local", files=folder, max_tokens=5),
        Suite("local", files=folder, documents=5),
        Suite("local", files=folder / "short.txt"),
        Suite("local", sets={"other": folder / "short.txt"}),
        Suite("embedded", sets="shipped"),
    ]
    assert len({suite.fingerprint for suite in suites}) == 6
    same = Suite("local", files=folder, batch_size=2, every=3)
    assert same.fingerprint == suites[0].fingerprint


def test_no_held_out_document_is_in_the_training_set():
    from hcexp.data import LocalSource

    trained = {document.text for document in LocalSource(corpus.TRAIN).read()}
    held_out = {document.text for document in LocalSource(corpus.VALIDATION).read()}
    assert len(held_out) == 20 and not trained & held_out


def test_loaders_need_a_prepared_suite(folder):
    with pytest.raises(RuntimeError, match="suite local is not prepared"):
        Suite("local", files=folder).dataloaders()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"suite": "V2"}, r"evaluation\.suite='V2': allowed are v2, v3, embedded, local"),
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
        Suite(**{"suite": "local", "files": folder, **knobs})


def test_two_files_of_one_name(folder):
    (folder / "short.jsonl").touch()
    with pytest.raises(ValueError, match="are both named 'short'; rename one"):
        Suite("local", files=folder)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        Suite("local", files=tmp_path / "none")
