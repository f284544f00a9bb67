import pytest

from hcexp.data import LocalSource, prepare
from hcexp.data.text.mixture import Mixture


@pytest.fixture
def make(mixture, tokenizer, tmp_path):
    """Prepares a mixture of these weights: the store, and its documents."""

    def make(max_tokens=None, **weights):
        of = mixture(**weights)
        store = prepare(of, tokenizer, tmp_path / "cache", max_tokens=max_tokens, progress=False)
        return store, [document for document in tokenizer.decode(store[:]).split(tokenizer.eos) if document]

    return make


@pytest.mark.parametrize("max_tokens", [500, 2000])
def test_each_has_its_share_of_the_tokens_all_along(make, max_tokens):
    weights = {"a": 5, "b": 1, "c": 2}
    store, found = make(max_tokens, **weights)
    for name, weight in weights.items():
        of_one = store.sources[name]
        assert of_one["tokens"] == pytest.approx(max_tokens * weight / 8, abs=80)  # of the longest document
        assert of_one["weight"] == weight and not of_one["ran_out"]
    sums = [sum(of_one[what] for of_one in store.sources.values()) for what in ("tokens", "documents", "bytes")]
    assert sums == [max_tokens - 1, store.documents, store.bytes] and store.documents == len(found)  # one is the EOS
    assert [document[0] for document in found[:3]] == list("abc")  # equally behind: in the order that was given
    same, _ = make(max_tokens, a=2.5, b=0.5, c=1)  # weights count by their proportion
    assert same.checksum == store.checksum and same.folder != store.folder


def test_one_that_runs_out_is_left_out_and_documents_are_whole_and_in_order(make):
    store, found = make(3000, a=1, b=9, c=1)
    of = {name: [document.split()[0] for document in found if document[0] == name] for name in "abc"}
    assert all(some == [f"{name}{i}" for i in range(len(some))] for name, some in of.items())
    assert len(of["b"]) == 100
    assert [store.sources[name]["ran_out"] for name in "abc"] == [False, True, False]
    # From then on the others have equal shares of what follows.
    last = max(i for i, document in enumerate(found) if document[0] == "b")
    assert {document[0] for document in found[last + 1 :]} == {"a", "c"}
    assert store.sources["a"]["tokens"] == pytest.approx(store.sources["c"]["tokens"], abs=80)


def test_the_checksum_is_of_sources_weights_and_order(mixture, three_files):
    sources = [mixture(a=1, b=2), mixture(a=1), mixture(a=2, b=2), mixture(b=2, a=1), mixture(a=1, c=2)]
    assert len({source.checksum for source in [*sources, LocalSource(three_files / "a.jsonl")]}) == 6
    assert mixture(a=1.0, b=2).checksum == sources[0].checksum
    assert str(mixture(a=1, c=2)) == "mixture of a, c"


def test_bad_sources_are_named(tmp_path):
    for sources, message in [
        ({}, r"data\.mixture=\{\}: give names of sources"),
        ("a", r"data\.mixture='a': give names of sources"),
        ({"a": "x.txt"}, r"data\.mixture\.a='x.txt': give files or hub, and a weight"),
        ({"a": {"files": "x.txt"}}, r"data\.mixture\.a\.weight=None: allowed is a number greater than 0"),
        ({"a": {"files": "x.txt", "weight": 0}}, r"data\.mixture\.a\.weight=0: allowed"),
        ({"a": {"files": "x.txt", "weight": True}}, r"data\.mixture\.a\.weight=True: allowed"),
        ({"a": {"files": "x.txt", "weight": float("nan")}}, r"data\.mixture\.a\.weight=nan: allowed"),
        ({"a": {"weight": 1}}, r"data\.mixture\.a: give one of files, hub and mixture, not none of them"),
        ({"a": {"files": "x", "cache": "y", "weight": 1}}, r"data\.mixture\.a: cache='y' does not go with files='x'"),
        ({"a": {"mixture": {}, "weight": 1}}, r"data\.mixture\.a: a mixture within a mixture"),
    ]:
        with pytest.raises(ValueError, match=message):
            Mixture(sources)
    missing = Mixture({"law": {"files": tmp_path / "none.txt", "weight": 1}})
    with pytest.raises(FileNotFoundError, match=r"data\.mixture\.law: files=.*none.txt': no such file"):
        _ = missing.checksum  # not before it is used
