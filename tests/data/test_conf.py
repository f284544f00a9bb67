"""Every choice of `data` builds what it says, from the command line's own spelling."""

import re

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf.errors import MissingMandatoryValue

from hcexp.configuration import compose, shipped

PUBLISHED = {
    "c4": "allenai/c4/en/train",
    "dolma": "allenai/dolma/urls/v1_5-sample.txt",
    "fineweb_edu": "HuggingFaceFW/fineweb-edu/sample/100BT/*",
    "olmoe_mix": "allenai/OLMoE-mix-0924/data/*/*",
    "wikitext": "Salesforce/wikitext/wikitext-103-raw-v1/train",
}


@pytest.fixture
def build(tmp_path):
    def build(*overrides: str):
        return instantiate(compose([f"paths.cache={tmp_path}/cache", *overrides]).data)

    return build


def test_published_corpora_are_pinned_and_say_their_licence(build):
    files = {path.stem: path for path in (shipped("conf") / "data").glob("*.yaml")}
    assert files.keys() == {"corpus", "local", "hub", "mixture", *PUBLISHED}  # which are tried below
    for name, source in PUBLISHED.items():
        data = build(f"data={name}", "data.max_tokens=1000")
        assert (str(data.source), data.max_tokens) == (source, 1000)
        assert re.fullmatch("[0-9a-f]{40}", data.source.revision)
        assert re.search("^# .*Licence: ", files[name].read_text(), re.MULTILINE)
    starts = re.compile(data.source.document_start)  # of wikitext, whose articles are documents
    rows = ["", " = Moby-Dick = \n", " Call me Ishmael . \n", " = = Plot = = \n", " = E = mc ² = \n", " x = y \n"]
    assert [bool(starts.match(row)) for row in rows] == [False, True, False, False, True, False]


def test_the_shipped_corpus_and_ones_own_files_and_tokenizer(build, mixed_folder, word_tokenizer, tmp_path):
    data = build("seed=3")
    assert (data.sequence_length, data.batch_size, data.max_tokens, data.seed) == (256, 4, None, 3)
    assert data.cache == tmp_path / "cache" and len(data.source.files) == 4
    with pytest.raises(ValueError, match="vocabulary_size=100"):
        build("model.vocabulary_size=100").prepare()
    path = word_tokenizer({"<unk>": 0, "</s>": 1, "a": 2})
    files = f"data.files=[{mixed_folder}/1.txt,{mixed_folder}/2.jsonl]"
    data = build("data=local", files, "data.sequence_length=4", f"data.tokenizer={path}", "data.eos='</s>'")
    assert len(data.source.files) == 2
    assert data.batches()[0][0].shape == (4, 4) and data.store.vocabulary_size == 3


def test_the_hub_and_a_mixture(build, mixed_folder):
    commit = ["data=hub", "data.hub=some/dataset", f"data.revision={'0' * 40}"]
    source = build(*commit, "data.config=en", "data.column=body").source
    assert (str(source), source.column) == ("some/dataset/en/train", "body")
    source = build(*commit, "+data.data_files=[a,b]", "+data.file_seed=3").source
    assert (source.data_files, source.file_seed) == (["a", "b"], 3)
    a, b = f"files: {mixed_folder}/2.jsonl, weight: 1", f"files: [{mixed_folder}/4.parquet], weight: 2.5"
    sources = build("data=mixture", f"data.mixture={{a: {{{a}}}, b: {{{b}}}}}", "data.sequence_length=2").store.sources
    assert {name: (of["weight"], of["documents"]) for name, of in sources.items()} == {"a": (1, 2), "b": (2.5, 2)}


def test_what_must_be_given_or_is_too_much_is_named(build):
    several = "corpus +data.hub=a/b +data.files=c"
    for choice, error, message in [
        ("local", MissingMandatoryValue, "data.files"),
        ("hub", MissingMandatoryValue, "data.hub"),
        ("mixture", MissingMandatoryValue, "data.mixture"),
        ("hub data.hub=a/b", InstantiationException, "revision=null of hub=a/b: allowed is a commit"),
        (several, InstantiationException, "give one of files, hub and mixture"),
    ]:
        with pytest.raises(error, match=message):
            build(*f"data={choice}".split())
