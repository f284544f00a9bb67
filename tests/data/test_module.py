import pickle

import pytest
import torch
from lightning import LightningModule, Trainer

from hcexp.data import TextData, TextTokenizer


@pytest.fixture
def make(mixed_folder, tmp_path):
    def make(**knobs):
        return TextData(**{"files": mixed_folder, "cache": tmp_path / "cache", "sequence_length": 4,
                           "batch_size": 6, **knobs})  # fmt: skip

    return make


def test_batches_without_a_trainer(make):
    data = make()
    inputs, targets = data.batch(3)
    assert inputs.shape == targets.shape == (6, 4)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert torch.equal(make().batch(3)[0], inputs)
    assert not torch.equal(make(seed=1).batch(3)[0], inputs)
    assert data.sequences == (data.store.tokens - 1) // 4


def test_the_shipped_corpus_is_the_default(tmp_path):
    data = TextData(cache=tmp_path)
    assert [path.stem for path in data.source.files] == ["drama", "factbook", "novel", "speeches"]
    assert data.tokenizer.checksum == TextTokenizer().checksum


def test_the_fingerprint_needs_no_tokens_and_knows_what_changes_them(make, monkeypatch):
    def refuse(self, texts):
        raise AssertionError("tokenised")

    monkeypatch.setattr(TextTokenizer, "encode", refuse)
    same = [make(), make(batch_size=2, sequence_length=9, workers=1, seed=4, verify=False)]
    assert len({data.fingerprint for data in same}) == 1
    others = [make(max_tokens=5), make(column="body"), make(files=make().source.files[:1])]
    assert len({data.fingerprint for data in [same[0], *others]}) == 4


def test_the_corpus_may_grow_or_shrink_by_max_tokens(make):
    data = make(max_tokens=9)
    data.setup()
    assert (data.store.tokens, data.sequences) == (9, 2)


def test_a_corpus_shorter_than_a_sequence_says_how_short(make):
    data = make()
    data.setup()
    n = data.store.tokens
    with pytest.raises(ValueError, match=f"has {n} tokens, .* data.sequence_length={n} needs {n + 1}"):
        make(sequence_length=n).setup()
    make(sequence_length=n - 1).setup()


def test_a_damaged_shard_does_not_train(make):
    data = make()
    data.setup()
    (data.store.folder / "tokens-00000.bin").write_bytes(b"\1" * 2 * data.store.tokens)
    with pytest.raises(ValueError, match="run `hcexp prepare` again"):
        make().setup()
    make(verify=False).setup()


def test_the_tokenizer_is_checked_before_anything_is_tokenised(make, tmp_path):
    with pytest.raises(ValueError, match="vocabulary_size=100: .* allowed is at least 4096"):
        make(vocabulary_size=100).prepare_data()
    with pytest.raises(ValueError, match="eos='<none>' is not in the tokenizer"):
        make(eos="<none>").prepare_data()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "knobs", [{"sequence_length": 0}, {"batch_size": 0}, {"max_tokens": 1}, {"seed": -1}, {"workers": -1}]
)
def test_a_knob_out_of_range_is_named_with_its_value(make, knobs):
    ((name, value),) = knobs.items()
    with pytest.raises(ValueError, match=rf"^data\.{name}={value}: allowed is at least \d$"):
        make(**knobs)


class Model(LightningModule):
    def training_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"max_steps": 4, "accumulate_grad_batches": 4}, r"data\.batch_size=6 .*accumulate_grad_batches"),
        ({"max_epochs": 1}, r"trainer\.max_steps=-1"),
    ],
)
def test_a_trainer_that_does_not_fit(make, trainer, message):
    trainer = Trainer(
        **trainer, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match=message):
        trainer.fit(Model(), make())


def test_the_loader_needs_a_trainer(make):
    with pytest.raises(ValueError, match="needs a Trainer"):
        make().train_dataloader()


def test_what_a_data_loader_process_gets_is_small(make):
    assert len(pickle.dumps(make()._batches())) < 5000
