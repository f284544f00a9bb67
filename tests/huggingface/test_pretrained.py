"""The class that `transformers` loads: its options are right, or refused."""

import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from tests.huggingface.conftest import Trained, tokens


@pytest.fixture
def trained():
    return Trained("dhc")


@pytest.fixture
def model(trained, load, tmp_path):
    trained.export(tmp_path / "out")
    return load(tmp_path / "out", trust_remote_code=True)


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_the_next_token(trained, model):
    logits = trained.network(tokens())
    expected = cross_entropy(logits[:, :-1].flatten(0, 1), tokens()[:, 1:].flatten())
    torch.testing.assert_close(model(tokens(), labels=tokens()).loss, expected)


@torch.no_grad()
def test_logits_to_keep(model):
    logits = model(tokens()).logits
    assert model(tokens(), logits_to_keep=3).logits.equal(logits[:, -3:])
    assert model(tokens(), logits_to_keep=torch.tensor([4, 7])).logits.equal(logits[:, [4, 7]])
    assert model(tokens(), return_dict=False)[0].equal(logits)


@torch.no_grad()
@pytest.mark.parametrize("front, behind", [(0, 5), (5, 0), (3, 2)])
def test_padding_changes_no_text(model, front, behind):
    text = tokens(batch=1, seq=12)
    padded = torch.nn.functional.pad(text, (front, behind), value=7)
    mask = torch.nn.functional.pad(torch.ones_like(text), (front, behind))
    batch = torch.cat((padded, tokens(batch=1, seq=17)))
    found = model(batch, attention_mask=torch.cat((mask, torch.ones(1, 17, dtype=torch.int64)))).logits
    torch.testing.assert_close(found[:1, front : front + 12], model(text).logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1:], model(batch[1:]).logits, rtol=1e-5, atol=1e-5)


def test_padding_inside_a_row_is_refused(model):
    mask = torch.tensor([[1] * 17, [0, 0, 1, 1, 0] + [1] * 12])
    with pytest.raises(ValueError, match="attention_mask has padding inside a row"):
        model(tokens(), attention_mask=mask)


def test_a_cache_is_refused(model):
    with pytest.raises(ValueError, match="no cache of keys and values: use_cache=False is allowed"):
        model(tokens(), use_cache=True)
    with pytest.raises(ValueError, match="no cache of keys and values"):
        model.generate(tokens(), max_new_tokens=2, use_cache=True)
    for unknown in ("position_ids", "inputs_embeds"):
        with pytest.raises(TypeError, match=unknown):
            model(tokens(), **{unknown: None})


@torch.no_grad()
def test_it_is_saved_and_loaded_again(model, load, tmp_path):
    expected = model(tokens()).logits
    model.save_pretrained(tmp_path / "again")
    again = load(tmp_path / "again", trust_remote_code=True)
    assert again(tokens()).logits.equal(expected)
    assert again.generation_config.use_cache is False


def test_it_can_be_trained(model):
    model.train()(tokens(), labels=tokens()).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_from_the_configuration_alone_it_is_drawn_as_for_training(trained, model):
    from transformers import AutoModelForCausalLM

    drawn = AutoModelForCausalLM.from_config(model.config, trust_remote_code=True)
    trained.network.reset_parameters(0)
    for name, weight in drawn.network.state_dict().items():
        assert weight.equal(trained.network.state_dict()[name]), name


def test_what_no_file_holds_is_made_at_loading(trained, load, tmp_path, monkeypatch):
    from hcexp.residual import DynamicHyperConnections

    build, reset = DynamicHyperConnections.__init__, DynamicHyperConnections.reset_parameters

    def with_buffer(self, *arguments, **knobs):
        build(self, *arguments, **knobs)
        self.register_buffer("order", torch.empty(3), persistent=False)

    def with_order(self):
        reset(self)
        self.order.copy_(torch.arange(3))

    trained.export(tmp_path / "out")
    monkeypatch.setattr(DynamicHyperConnections, "__init__", with_buffer)
    monkeypatch.setattr(DynamicHyperConnections, "reset_parameters", with_order)
    loaded = load(tmp_path / "out", trust_remote_code=True).network
    assert loaded.stream.order.tolist() == [0, 1, 2]
    for name, weight in trained.network.state_dict().items():
        assert loaded.state_dict()[name].equal(weight), name


def test_a_file_that_lacks_a_weight_is_refused(trained, load, tmp_path):
    trained.export(tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    weights = load_file(path)
    del weights["network.blocks.1.attention.out.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lack the weight network.blocks.1.attention.out.weight"):
        load(tmp_path / "out", trust_remote_code=True)


def test_code_that_is_not_trusted_does_not_run(trained, load, tmp_path):
    trained.export(tmp_path / "out")
    with pytest.raises(ValueError, match="trust_remote_code"):
        load(tmp_path / "out", trust_remote_code=False)


def test_where_the_package_is_missing_the_folder_says_how_to_install_it(trained, load, tmp_path, monkeypatch):
    trained.export(tmp_path / "out")
    for name in [name for name in sys.modules if name.partition(".")[0] == "hcexp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hcexp", None)
    with pytest.raises(ImportError, match="runs on the Python package hcexp .*install it from its repository.*pip"):
        load(tmp_path / "out", trust_remote_code=True)
