import numpy as np
import pytest
from hydra.utils import instantiate

from hcexp.configuration import compose
from hcexp.data import TextTokenizer
from hcexp.evaluation import TokenSuite
from hcexp.evaluation.perplexity.windows import IGNORED
from hcexp.paper import listing

SETS = {"a": "a/0.npy", "b": ["b/0.npy", "b/1.npy"]}


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 16), (1, 2), (3, 2)])
def test_every_token_of_the_files_is_predicted_once(vocabulary, data, tmp_path, world_size, batch_size):
    """Of two sets, the second of two files, of which one is shorter than a sequence."""
    draw, ids = np.random.default_rng(0), {}
    for path, size in (("a/0.npy", 100), ("b/0.npy", 3), ("b/1.npy", 40)):
        ids[path] = draw.integers(1, 4096, size, dtype="<u2")
        ids[path][[size // 2, -1]] = 0
        (tmp_path / path).parent.mkdir(exist_ok=True)
        ids[path].tofile(tmp_path / path)
    suite = TokenSuite("v3", SETS, tmp_path, vocabulary, eos_ids=[0], batch_size=batch_size)
    suite.prepare(data(), tmp_path / "cache")
    shares = zip(*(suite.loaders(rank, world_size) for rank in range(world_size)), strict=True)
    for paths, loaders in zip((["a/0.npy"], ["b/0.npy", "b/1.npy"]), shares, strict=True):
        windows = [[row[row != IGNORED] for _, targets in loader for row in targets] for loader in loaders]
        in_order = [row for turn in zip(*windows, strict=True) for row in turn]
        assert np.concatenate(in_order).tolist() == np.concatenate([ids[path] for path in paths]).tolist()


def test_the_first_documents_of_each_set_from_a_folder_or_an_address(server, vocabulary, data, tmp_path):
    for path, ids in (("a/0.npy", [5, 6, 0, 7, 0]), ("b/0.npy", [8, 0]), ("b/1.npy", [9] * 20 + [0, 9, 0])):
        (server.folder / path).parent.mkdir(exist_ok=True)
        np.array(ids, "<u2").tofile(server.folder / path)
    whole = TokenSuite("v3", SETS, server.folder, vocabulary, eos_ids=[0]).fingerprint
    for place in (server.folder, server.url):
        suite = TokenSuite("v3", SETS, place, vocabulary, eos_ids=[0], documents=2, batch_size=1)
        suite.prepare(data(), tmp_path / "cache")
        found = [[targets[targets != IGNORED].tolist() for _, targets in loader] for loader in suite.loaders()]
        assert found == [[[5, 6, 0, 7, 0]], [[8, 0, *[9] * 14], [*[9] * 6, 0]]] and suite.fingerprint != whole


def test_another_tokenizer_is_refused_before_anything_is_downloaded(server, data, dolma_file, vocabulary, tmp_path):
    suite = TokenSuite("v3", SETS, server.url, vocabulary, eos_ids=[0])
    with pytest.raises(ValueError, match="the suite v3 is made of tokens of org/name, and data.tokenizer="):
        suite.prepare(data(tokenizer=TextTokenizer(dolma_file)), tmp_path)
    assert server.requests == []


@pytest.mark.parametrize(("suite", "ending"), [("v2", "val.npy"), ("v3", "val/part-0-00000.npy")])
def test_the_sets_and_the_vocabulary_are_those_of_the_paper(suite, ending, dolma_file):
    built = instantiate(compose([f"evaluation={suite}"]).evaluation)
    assert built.name == suite and built.parts == list(listing(13)[suite])
    for name, files in built.sets.items():
        assert files.paths == [f"eval-data/perplexity/{suite}_small_gptneox20b/{name}/{ending}"]
        assert files.source == "https://olmo-data.org"
    for name in ("gpt-neox-olmo-dolma-v1_5", "eleuther-ai-gpt-neox-20b-pii-special"):
        built.vocabulary.require(TextTokenizer(dolma_file.with_name(f"allenai_{name}.json")), suite)
