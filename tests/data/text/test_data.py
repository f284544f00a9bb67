import pickle

import pytest
import torch

from hcexp.data import TextData, TextTokenizer


@pytest.fixture
def make(mixed_folder, tmp_path):
    def make(**knobs):
        return TextData(**{"files": mixed_folder, "cache": tmp_path / "cache", "sequence_length": 4,
                           "batch_size": 6, **knobs})  # fmt: skip

    return make


def test_batches_are_of_the_text_and_the_seed(make):
    data = make()
    inputs, targets = data.batches()[3]
    assert inputs.shape == targets.shape == (6, 4) and torch.equal(inputs[:, 1:], targets[:, :-1])
    assert torch.equal(make().batches()[3][0], inputs)
    assert not torch.equal(make(seed=1).batches()[3][0], inputs)
    assert len(data.samples) == (data.store.tokens - 1) // 4 and data.tokens_per_step == 24
    assert len(pickle.dumps(data.batches())) < 5000  # which the processes of a loader get
    few = make(max_tokens=9)
    assert (few.store.tokens, len(few.samples)) == (9, 2)


def test_the_fingerprint_needs_no_tokens_and_knows_what_changes_them(make, word_tokenizer, monkeypatch):
    monkeypatch.setattr(TextTokenizer, "encode", None)
    same = [make(), make(batch_size=2, sequence_length=9, workers=1, seed=4, verify=False)]
    assert len({data.fingerprint for data in same}) == 1
    words = word_tokenizer({"<unk>": 0, "<eos>": 1})
    others = [{"max_tokens": 5}, {"column": "body"}, {"files": make().source.files[:1]},
              {"tokenizer": words, "eos": "<eos>"}, {"tokenizer": words, "eos": "<unk>"}]  # fmt: skip
    assert len({data.fingerprint for data in [same[0], *(make(**other) for other in others)]}) == 6


def test_a_corpus_shorter_than_a_sequence_says_how_short(make):
    n = make().store.tokens
    with pytest.raises(ValueError, match=f"has {n} tokens, .* data.sequence_length={n} needs {n + 1}"):
        make(sequence_length=n).prepare()
    make(sequence_length=n - 1).prepare()


def test_a_damaged_shard_does_not_train(make):
    store = make().store
    (store.folder / "tokens-00000.bin").write_bytes(b"\1" * 2 * store.tokens)
    with pytest.raises(ValueError, match="run `hcexp prepare` again"):
        make().prepare()
    make(verify=False).prepare()


def test_bad_values_are_refused_before_anything_is_done(make, tmp_path):
    for name, value in [("sequence_length", 0), ("batch_size", 0), ("max_tokens", 1), ("seed", -1), ("workers", -1)]:
        with pytest.raises(ValueError, match=rf"^data\.{name}={value}: allowed is at least \d$"):
            make(**{name: value})
    for rows, length in [(10**9, 4), (6, 10**30), (2**25, 1), (2**15, 2**16)]:
        said = f"data.batch_size={rows} with data.sequence_length={length} is {rows * length:,} tokens a step: allowed"
        with pytest.raises(ValueError, match=f"^{said} are at most 16,777,216 samples and 1,073,741,824 tokens a step"):
            make(batch_size=rows, sequence_length=length)
    for knobs, message in [
        ({"hub": "b"}, "give one of files, hub and mixture, not files=.* and hub='b'"),
        ({"file_seed": 0}, "file_seed=0 does not go with files="),
        ({"files": None, "hub": "a", "revision": "main"}, "revision=main of hub=a: allowed is a commit"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**knobs)
    for knobs in ({"files": tmp_path / "gone"}, {"files": None, "mixture": {"a": {"files": "gone", "weight": 1}}},
                  {"tokenizer": tmp_path / "gone"}):  # fmt: skip
        data = make(**knobs)  # no file is looked for before it is used
        with pytest.raises(FileNotFoundError, match=r"^(data\.files=|data\.mixture\.a: files=|tokenizer=).*gone"):
            _ = data.fingerprint
    assert not (tmp_path / "cache").exists()
