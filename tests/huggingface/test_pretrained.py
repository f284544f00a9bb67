"""The class that `transformers` loads: its options are right, or refused."""

import shutil
import sys
from importlib.util import find_spec
from unittest.mock import MagicMock

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, pad

from hcexp.data import TextTokenizer
from hcexp.huggingface.network import build
from hcexp.huggingface.pretrained import Attended
from tests.huggingface.conftest import load, same_logits, tokens


@pytest.fixture
def trained(exported):
    return exported("dhc", "olmo")[0]


@pytest.fixture
def model(exported):
    return exported("dhc", "olmo")[2]


@pytest.fixture
def folder(exported, tmp_path):
    """A copy, to be changed."""
    return shutil.copytree(exported("dhc", "olmo")[1], tmp_path / "copy")


@torch.no_grad()
def test_what_it_is_asked_for_is_what_it_gives(trained, model):
    expected, logits = trained.network(tokens()), model(tokens()).logits
    loss = cross_entropy(expected[:, :-1].flatten(0, 1), tokens()[:, 1:].flatten())
    torch.testing.assert_close(model(tokens(), labels=tokens()).loss, loss)
    assert model(tokens(), logits_to_keep=3).logits.equal(logits[:, -3:])
    assert model(tokens(), logits_to_keep=torch.tensor([4, 7])).logits.equal(logits[:, [4, 7]])
    assert model(tokens(), return_dict=False)[0].equal(logits)
    assert model(tokens(), use_cache=False).past_key_values is None
    with pytest.raises(TypeError, match="position_ids"):
        model(tokens(), position_ids=None)


@torch.no_grad()
@pytest.mark.parametrize("front, behind", [(0, 5), (5, 0), (3, 2)])
def test_padding_changes_no_text(model, front, behind):
    text = tokens(batch=1, seq=12)
    mask = pad(torch.ones_like(text), (front, behind))
    batch = torch.cat((pad(text, (front, behind), value=7), tokens(batch=1, seq=17)))
    found = model(batch, attention_mask=torch.cat((mask, torch.ones(1, 17, dtype=torch.int64)))).logits
    assert Attended(None, torch.cat((mask, mask)), 17, mask.device).mask.any(-1).all()  # or kernels give nan
    same_logits(found[:1, front : front + 12], model(text).logits)
    same_logits(found[1:], model(batch[1:]).logits)


def test_a_mask_that_means_something_else_is_refused(model):
    for row in ([0, 0, 1, 1, 0] + [1] * 12, [1, 0] + [1] * 15):
        with pytest.raises(ValueError, match="attention_mask has padding inside a row"):
            model(tokens(), attention_mask=torch.tensor([[1] * 17, row]))
    for shape in ((2, 16), (2, 1, 17, 17)):
        with pytest.raises(ValueError, match=r"attention_mask has the shape .*: allowed is \(batch, 17\)"):
            model(tokens(), attention_mask=torch.zeros(shape))


@torch.no_grad()
def test_it_is_saved_and_loaded_again_with_a_vocabulary_of_another_size(folder, tmp_path):
    model = load(folder)
    expected = model(tokens()).logits
    model.resize_token_embeddings(140)
    model.save_pretrained(tmp_path / "again")
    again = load(tmp_path / "again")
    found = again(tokens()).logits
    assert found.shape[-1] == 140 and found[..., :128].equal(expected)
    assert again.generation_config.use_cache is True
    tie = again.get_input_embeddings()
    again.set_output_embeddings(tie)
    assert again.get_output_embeddings() is tie and tie.weight.shape == (140, 32)


def test_the_harness_generates_with_it(exported, monkeypatch):
    pytest.importorskip("lm_eval")
    from transformers import AutoTokenizer

    for absent in [name for name in ("accelerate", "accelerate.utils") if not find_spec(name.partition(".")[0])]:
        monkeypatch.setitem(sys.modules, absent, MagicMock())  # it is imported there, and not used here
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    trained, folder, model = exported("dhc", "whole vocabulary")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    prompts, until = ["The king of the river", "A stone"], {"until": ["\n\n\n"], "max_gen_toks": 5, "do_sample": False}
    asked = [Instance("generate_until", {}, (text, until), i) for i, text in enumerate(prompts)]
    found = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2, device="cpu").generate_until(asked, True)
    for text, ids in zip(found, TextTokenizer().encode(prompts), strict=True):
        prompt = torch.tensor(ids.tolist())[None]
        assert text == tokenizer.decode(trained.continued(prompt, 5)[0, prompt.shape[-1] :], skip_special_tokens=True)


def test_from_the_configuration_alone_it_is_drawn_as_for_training_and_trains(trained, model):
    from transformers import AutoModelForCausalLM

    drawn = AutoModelForCausalLM.from_config(model.config, trust_remote_code=True).train()
    drawn(tokens(), labels=tokens()).loss.backward()
    assert all(parameter.grad is not None for parameter in drawn.parameters())
    fresh = build(trained.model, trained.residual)
    fresh.reset_parameters(0)
    torch.testing.assert_close(drawn.network.state_dict(), fresh.state_dict(), rtol=0, atol=0)


def test_what_no_file_holds_is_made_at_loading(trained, folder, monkeypatch):
    from hcexp.residual import DynamicHyperConnections

    make, reset = DynamicHyperConnections.__init__, DynamicHyperConnections.reset_parameters

    def with_buffer(self, *arguments, **knobs):
        make(self, *arguments, **knobs)
        self.register_buffer("order", torch.empty(3), persistent=False)

    def with_order(self):
        reset(self)
        self.order.copy_(torch.arange(3))

    monkeypatch.setattr(DynamicHyperConnections, "__init__", with_buffer)
    monkeypatch.setattr(DynamicHyperConnections, "reset_parameters", with_order)
    loaded = load(folder).network
    assert loaded.stream.order.tolist() == [0, 1, 2]
    torch.testing.assert_close(loaded.state_dict(), trained.network.state_dict(), rtol=0, atol=0)


def test_a_folder_that_is_not_whole_or_not_trusted_is_refused(trained, folder, monkeypatch):
    from transformers import AutoModelForCausalLM

    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    for nested in ({"_target_": "os.system"}, {"norm": {"_target_": "os.system"}}, {"a": [{"_target_": "os.system"}]}):
        for sections in ((trained.model | nested, trained.residual), (trained.model, trained.residual | nested)):
            with pytest.raises(ValueError, match="_target_=os.system is not allowed"):
                build(*sections)
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["network.blocks.1.attention.out.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lack the weight network.blocks.1.attention.out.weight"):
        load(folder)

    for name in [name for name in sys.modules if name.partition(".")[0] in ("hcexp", "transformers_modules")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hcexp", None)
    with pytest.raises(ImportError, match="runs on the Python package hcexp .*install it from its repository.*pip"):
        load(folder)
