import pytest

from hcexp.data import LocalSource, Mixture, prepare


@pytest.fixture
def files(tmp_path):
    """Three sources, whose documents say where they are from and differ in length."""
    for name, length in {"a": 30, "b": 3, "c": 12}.items():
        lines = "".join(f'{{"text": "{name}{i}{" x" * (length + i % 5)}"}}\n' for i in range(100))
        (tmp_path / f"{name}.jsonl").write_text(lines)
    return tmp_path


@pytest.fixture
def make(files):
    def make(**weights):
        return Mixture({name: {"files": files / f"{name}.jsonl", "weight": w} for name, w in weights.items()})

    return make


def documents(store, tokenizer) -> list[str]:
    text = tokenizer.decode(store[:].tolist())
    return [document for document in text.split("<|endoftext|>") if document]


def test_each_has_its_share_of_the_tokens_all_along(make, tokenizer, tmp_path):
    mixture = make(a=5, b=1, c=2)
    for max_tokens in (500, 1000, 2000):
        store = prepare(mixture, tokenizer, tmp_path / "cache", max_tokens=max_tokens, progress=False)
        longest = 80
        for name, weight in {"a": 5, "b": 1, "c": 2}.items():
            of_one = store.sources[name]
            assert of_one["tokens"] == pytest.approx(max_tokens * weight / 8, abs=longest)
            assert of_one["weight"] == weight and not of_one["ran_out"]
        assert sum(of_one["tokens"] for of_one in store.sources.values()) == max_tokens - 1  # and the first EOS
        assert sum(of_one["documents"] for of_one in store.sources.values()) == store.documents
        assert sum(of_one["bytes"] for of_one in store.sources.values()) == store.bytes


def test_documents_are_whole_and_in_the_order_of_their_source(make, tokenizer, tmp_path):
    whole = documents(prepare(make(a=5, b=1, c=2), tokenizer, tmp_path / "cache", progress=False), tokenizer)
    for name in "abc":
        of_one = [document.split()[0] for document in whole if document.startswith(name)]
        assert of_one == [f"{name}{i}" for i in range(100)]
    first = [document[0] for document in whole[:3]]
    assert first == ["a", "b", "c"]  # all equally behind: in the order in which they were given


def test_one_that_runs_out_is_left_out_and_nothing_is_read_twice(make, tokenizer, tmp_path):
    store = prepare(make(a=1, b=9, c=1), tokenizer, tmp_path / "cache", max_tokens=3000, progress=False)
    found = documents(store, tokenizer)
    b = [document for document in found if document.startswith("b")]
    assert len(b) == len(set(b)) == 100 and store.sources["b"]["ran_out"]
    assert not store.sources["a"]["ran_out"] and not store.sources["c"]["ran_out"]
    # From then on the others have equal shares of what follows.
    assert {document[0] for document in found[found.index(b[-1]) + 1 :]} == {"a", "c"}
    a, c = (store.sources[name]["tokens"] for name in "ac")
    assert a == pytest.approx(c, abs=80)


def test_weights_count_by_their_proportion(make, tokenizer, tmp_path):
    first, second = (
        prepare(make(a=a, b=b), tokenizer, tmp_path / "cache", max_tokens=900, progress=False)
        for a, b in ((1, 3), (0.25, 0.75))
    )
    assert first.checksum == second.checksum and first.folder != second.folder


def test_the_checksum_is_of_sources_weights_and_order(make, files):
    assert make(a=1, b=2).checksum == make(a=1.0, b=2).checksum
    others = [make(a=1), make(a=2, b=2), make(b=2, a=1), make(a=1, c=2)]
    assert len({make(a=1, b=2).checksum, *(other.checksum for other in others)}) == 5
    assert make(a=1).checksum != LocalSource(files / "a.jsonl").checksum
    assert str(make(a=1, c=2)) == "mixture of a, c"


def test_bad_sources_are_named():
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
        ({"a": {"hub": "x/y", "weight": 1, "colum": "z"}}, r"data\.mixture\.a: colum='z' does not go with hub='x/y'"),
        ({"a": {"mixture": {}, "weight": 1}}, r"data\.mixture\.a: a mixture within a mixture"),
    ]:
        with pytest.raises(ValueError, match=message):
            Mixture(sources)


def test_a_missing_file_is_named_once_it_is_used(tmp_path):
    mixture = Mixture({"law": {"files": tmp_path / "none.txt", "weight": 1}})
    with pytest.raises(FileNotFoundError, match=r"data\.mixture\.law: files=.*none.txt': no such file"):
        _ = mixture.checksum
