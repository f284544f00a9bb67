import numpy as np
import pytest
from hydra.utils import instantiate

from hcexp.configuration import compose
from hcexp.data import TextTokenizer
from hcexp.evaluation import TokenSuite, Vocabulary
from hcexp.evaluation.perplexity.windows import IGNORED
from hcexp.paper import listing


@pytest.fixture(scope="module")
def vocabulary(tokenizer):
    return Vocabulary("shipped", 1, 4095, Vocabulary("shipped", 1, 4095, "").fingerprint(tokenizer))


@pytest.fixture
def source(tmp_path):
    """Three sets, the second shorter than one sequence, the third of two files."""
    draw = np.random.default_rng(0)
    for path, size in (("a/val.npy", 100), ("b/val.npy", 3), ("c/0.npy", 40), ("c/1.npy", 25)):
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        ids = draw.integers(1, 4096, size, dtype="<u2")
        ids[[size // 2, -1]] = 0
        ids.tofile(tmp_path / "source" / path)
    return tmp_path / "source"


def make(source, vocabulary, **options):
    sets = {"a": "a/val.npy", "b": "b/val.npy", "c": ["c/0.npy", "c/1.npy"]}
    return TokenSuite("v3", sets, source, vocabulary, eos_ids=[0], **options)


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 16), (1, 2), (3, 2)])
def test_every_token_of_the_files_is_predicted_once(source, vocabulary, data, tmp_path, world_size, batch_size):
    suite = make(source, vocabulary, batch_size=batch_size)
    suite.prepare(data(), tmp_path / "cache")
    shares = zip(*(suite.loaders(rank, world_size) for rank in range(world_size)), strict=True)
    for paths, loaders in zip((["a/val.npy"], ["b/val.npy"], ["c/0.npy", "c/1.npy"]), shares, strict=True):
        windows = [[row[row != IGNORED] for _, targets in loader for row in targets] for loader in loaders]
        in_order = [row for turn in zip(*windows, strict=True) for row in turn]
        assert (
            np.concatenate(in_order).tolist()
            == np.concatenate([np.fromfile(source / p, "<u2") for p in paths]).tolist()
        )


def test_the_first_documents_of_each_set_from_a_folder_or_an_address(server, source, vocabulary, data, tmp_path):
    whole = make(source, vocabulary).fingerprint
    source.rename(server.folder / "source")
    batches = []
    for place in (server.folder / "source", f"{server.url}/source"):
        suite = make(place, vocabulary, documents=1)
        suite.prepare(data(), tmp_path / "cache")
        batches.append([[targets.tolist() for _, targets in loader] for loader in suite.loaders()])
        counted = [sum(int((targets != IGNORED).sum()) for _, targets in loader) for loader in suite.loaders()]
        assert counted == [51, 2, 21] and suite.fingerprint != whole
    assert batches[0] == batches[1]


def test_another_tokenizer_is_refused_before_anything_is_downloaded(server, data, tmp_path):
    with pytest.raises(ValueError, match="the suite v3 is made of tokens of org/name, and data.tokenizer="):
        make(server.url, Vocabulary("org/name", 1, 4095, "0" * 64)).prepare(data(), tmp_path)
    assert server.requests == []
    with pytest.raises(ValueError, match="the suite v2 is made of tokens of allenai/gpt-neox-olmo-dolma-v1_5, and "):
        instantiate(compose(["evaluation=v2"]).evaluation).prepare(data(), tmp_path)


@pytest.mark.parametrize(("suite", "count"), [("v2", 13), ("v3", 11)])
def test_the_sets_are_those_of_the_paper(suite, count):
    config = compose([f"evaluation={suite}"]).evaluation
    built = instantiate(config)
    assert built.name == suite and len(built.parts) == count
    assert built.parts == list(listing(13)[suite])
    for name, files in built.sets.items():
        ending = "val.npy" if suite == "v2" else "val/part-0-00000.npy"
        assert files.paths == [f"eval-data/perplexity/{suite}_small_gptneox20b/{name}/{ending}"]
        assert files.source == "https://olmo-data.org"


@pytest.mark.parametrize("name", ["gpt-neox-olmo-dolma-v1_5", "eleuther-ai-gpt-neox-20b-pii-special"])
def test_olmos_own_tokenizers_have_the_vocabulary(name, dolma_file):
    tokenizer = TextTokenizer(dolma_file.with_name(f"allenai_{name}.json"))
    instantiate(compose(["evaluation=v3"]).evaluation).vocabulary.require(tokenizer, "v3")
