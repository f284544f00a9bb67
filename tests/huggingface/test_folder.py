"""What is exported computes in `transformers` what it computed here, in every mode."""

import json
from functools import partial

import pytest
import torch
from huggingface_hub import save_torch_state_dict

from hcexp.huggingface.tokenizer import TokenizerFiles
from tests.huggingface.conftest import MODES, NETWORKS, Trained, tokens

CODE = {"configuration_hcexp.py", "modeling_hcexp.py"}
FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(params=[(mode, name) for mode in MODES for name in NETWORKS], ids="-".join)
def trained(request):
    mode, name = request.param
    try:
        return Trained(mode, **NETWORKS[name])
    except ValueError as error:
        if "model.tied" not in str(error):
            raise
        pytest.skip("a mode of two widths cannot be tied")


@torch.no_grad()
def test_the_logits_are_the_same(trained, load, tmp_path):
    beyond = trained.export(tmp_path / "out")
    model = load(tmp_path / "out", trust_remote_code=beyond is not None)
    assert {path.name for path in (tmp_path / "out").iterdir()} == (FILES | CODE if beyond else FILES)
    expected = trained.network(tokens())
    assert expected.std() > 0.1
    torch.testing.assert_close(model(tokens()).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_greedy_generation_is_the_argmax_again_and_again(mode, load, tmp_path):
    trained = Trained(mode, tied=False)
    trained.export(tmp_path / "out")
    model = load(tmp_path / "out", trust_remote_code=True)
    prompts = tokens(batch=3, seq=6)
    for prompt in prompts.split(1):
        found = model.generate(prompt, max_new_tokens=8, do_sample=False, eos_token_id=None)
        assert found.equal(trained.continued(prompt, 8))


@pytest.mark.parametrize("mode", MODES)
def test_texts_of_different_lengths_generate_as_if_alone(mode, load, tmp_path):
    trained = Trained(mode, tied=False)
    trained.export(tmp_path / "out")
    model = load(tmp_path / "out", trust_remote_code=True)
    long, short = tokens(batch=2, seq=9).split(1)
    short = short[:, :4]
    batch = torch.cat((long, torch.nn.functional.pad(short, (5, 0))))
    mask = torch.cat((torch.ones_like(long), torch.tensor([[0] * 5 + [1] * 4])))
    found = model.generate(batch, attention_mask=mask, max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert found[:1].equal(trained.continued(long, 6))
    assert found[1:, 5:].equal(trained.continued(short, 6))


def test_plain_needs_no_code_of_ours(load, tmp_path):
    from transformers import OlmoForCausalLM

    assert Trained("pre_norm").export(tmp_path / "out") is None
    model, report = OlmoForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    assert type(load(tmp_path / "out")) is OlmoForCausalLM
    assert json.loads((tmp_path / "out" / "config.json").read_text())["use_cache"] is True


@torch.no_grad()
@pytest.mark.parametrize("mode", ["pre_norm", "dhc"])
def test_a_large_model_is_written_in_shards(mode, load, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "hcexp.huggingface.folder.save_torch_state_dict", partial(save_torch_state_dict, max_shard_size=9000)
    )
    trained = Trained(mode)
    trained.export(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 2
    model = load(tmp_path / "out", trust_remote_code=True)
    torch.testing.assert_close(model(tokens()).logits, trained.network(tokens()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", ["pre_norm", "dhc"])
def test_the_precision_is_kept(mode, dtype, load, tmp_path):
    trained = Trained(mode)
    trained.network.to(dtype)
    trained.export(tmp_path / "out")
    assert load(tmp_path / "out", trust_remote_code=True).dtype == dtype


def test_no_folder_is_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="out exists: delete it, or name another with --to"):
        Trained("pre_norm").export(tmp_path / "out")


def test_weights_of_another_network_are_refused(tmp_path):
    trained = Trained("pre_norm")
    trained.model["inner"] = 64
    with pytest.raises(ValueError, match=r"blocks.0.feed_forward.gate_up.weight has shape \(96, 32\).*needs \(128, 32"):
        trained.export(tmp_path / "out")
    other = Trained("dhc")
    other.network = trained.network
    with pytest.raises(ValueError, match="stream.*has shape none"):
        other.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_appears_when_it_is_whole(tmp_path, monkeypatch):
    trained = Trained("dhc")
    with monkeypatch.context() as patch:
        patch.setattr(TokenizerFiles, "write", lambda *a: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            trained.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    trained.export(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
