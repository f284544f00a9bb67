"""`transformers` reads the tokenizer that training used."""

import pytest
from tokenizers import AddedToken, Tokenizer

from hcexp.data import TextTokenizer, corpus
from tests.huggingface.conftest import Trained, load

TEXTS = ["The king's  morning,\n\n and café 123", " a stone  by the river\t", "", "ÆØÅ 東京 🙂", "x" * 300]


@pytest.mark.parametrize("mode", ["pre_norm", "dhc"])
def test_texts_become_the_same_tokens(mode, exported):
    from transformers import AutoTokenizer

    ours, (_, folder, model) = TextTokenizer(), exported(mode, "olmo")
    theirs = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    for text, ids in zip(TEXTS, ours.encode(TEXTS), strict=True):
        assert theirs(text).input_ids == ids.tolist()
        assert theirs.decode(ids.tolist()) == text
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.eos_id,) * 3
    assert theirs.model_max_length == 64
    assert model.generation_config.pad_token_id == ours.eos_id
    assert model.get_input_embeddings().padding_idx is None
    assert theirs(TEXTS[:2], padding=True)["attention_mask"][1][0] == 0


def test_padding_has_its_token_where_there_is_one(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = Tokenizer.from_file(str(corpus.TOKENIZER))
    tokenizer.add_special_tokens([AddedToken("<|padding|>", special=True)])
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "padded.json"))
    ours = TextTokenizer(tmp_path / "padded.json")
    Trained("pre_norm", vocabulary_size=4097).export(tmp_path / "out", ours)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (theirs.pad_token, theirs.pad_token_id) == ("<|padding|>", 4096)
    model = load(tmp_path / "out")
    assert (model.generation_config.pad_token_id, model.model.embed_tokens.padding_idx) == (4096, 4096)
    assert theirs(TEXTS[0]).input_ids == next(ours.encode(TEXTS[:1])).tolist()
