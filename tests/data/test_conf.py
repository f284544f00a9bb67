"""Every choice of `data` builds what it says, from the command line's own spelling."""

import json
import re
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf.errors import MissingMandatoryValue

from hcexp.configuration import compose, shipped
from hcexp.data import LocalSource

CONF = shipped("conf")
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


def test_every_file_is_tried_below():
    names = {path.stem for path in (CONF / "data").glob("*.yaml")}
    assert names == {"corpus", "local", "hub", "mixture", *PUBLISHED}


def test_the_shipped_corpus(build, tmp_path):
    data = build("seed=3")
    assert (data.sequence_length, data.batch_size, data.max_tokens, data.seed) == (256, 4, None, 3)
    assert data.cache == tmp_path / "cache" and len(data.source.files) == 4
    with pytest.raises(ValueError, match="vocabulary_size=100"):
        build("model.vocabulary_size=100").prepare()


def test_ones_own_files_and_tokenizer(build, mixed_folder, word_tokenizer):
    data = build("data=local", f"data.files={mixed_folder}", "data.sequence_length=4", "data.batch_size=2")
    assert data.batches()[0][0].shape == (2, 4)
    data = build("data=local", f"data.files=[{mixed_folder}/1.txt,{mixed_folder}/2.jsonl]")
    assert len(data.source.files) == 2
    path = word_tokenizer({"<unk>": 0, "</s>": 1, "a": 2})
    data = build("data=local", f"data.files={mixed_folder}", f"data.tokenizer={path}", "data.eos='</s>'")
    assert data.tokenizer.vocabulary_size == 3


def test_the_hub(build):
    commit = ["data=hub", "data.hub=some/dataset", f"data.revision={'0' * 40}"]
    data = build(*commit, "data.config=en", "data.column=body")
    assert (str(data.source), data.source.column) == ("some/dataset/en/train", "body")
    data = build(*commit, "+data.data_files=[a,b]", "+data.file_seed=3")
    assert (data.source.data_files, data.source.file_seed) == (["a", "b"], 3)
    with pytest.raises(InstantiationException, match="revision=null of hub=some/dataset: allowed is a commit"):
        build(*commit[:2])


@pytest.mark.parametrize(("name", "source"), PUBLISHED.items())
def test_published_corpora_are_pinned_and_say_their_licence(build, name, source):
    data = build(f"data={name}", "data.max_tokens=1000")
    assert (str(data.source), data.max_tokens) == (source, 1000)
    assert re.fullmatch("[0-9a-f]{40}", data.source.revision)
    assert re.search("^# .*Licence: ", (Path(CONF) / "data" / f"{name}.yaml").read_text(), re.MULTILINE)


def test_articles_of_wikitext_are_documents(build, tmp_path):
    rows = ["", " = Moby-Dick = \n", "", " Call me Ishmael . \n", " = = Plot = = \n", " = E = mc ² = \n", " x = y \n"]
    source = build("data=wikitext").source
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    articles = LocalSource(tmp_path / "a.jsonl", document_start=source.document_start)
    assert [document.text for document in articles.read()] == ["".join(rows[:5]), "".join(rows[5:])]


def test_a_mixture(build, mixed_folder):
    sources = (
        f"{{a: {{files: {mixed_folder}/2.jsonl, weight: 1}}, b: {{files: [{mixed_folder}/4.parquet], weight: 2.5}}}}"
    )
    data = build("data=mixture", f"data.mixture={sources}", "data.sequence_length=2")
    assert {name: weight for name, (weight, _) in data.source.weighted.items()} == {"a": 1.0, "b": 2.5}
    data.prepare()
    assert data.store.documents == 4 and set(data.store.sources) == {"a", "b"}
    with pytest.raises(InstantiationException, match="give one of files, hub and mixture, not hub='some/dataset' and"):
        build("data=mixture", f"data.mixture={sources}", "+data.hub=some/dataset")


def test_what_must_be_given_is_named(build):
    for choice, knob in (("local", "files"), ("hub", "hub"), ("mixture", "mixture")):
        with pytest.raises(MissingMandatoryValue, match=f"data.{knob}"):
            build(f"data={choice}")
