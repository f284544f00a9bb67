"""A network that is exported computes in `transformers` what it computed here, in every mode."""

from functools import partial

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from torch.nn.functional import pad

from hcexp.huggingface.tokenizer import TokenizerFiles
from tests.huggingface.conftest import NETWORKS, Trained, load, same_logits, tokens
from tests.registered import MODES

CODE = {"configuration_hcexp.py", "modeling_hcexp.py"}
FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
def test_the_logits_are_the_same(mode, exported):
    done = []
    for name in NETWORKS:
        try:
            trained, folder, model = exported(mode, name)
        except ValueError as error:
            if "model.tied" not in str(error):  # a mode of two widths
                raise
            continue
        assert {path.name for path in folder.iterdir()} == (FILES | CODE if trained.beyond else FILES)
        expected = trained.network(tokens())
        assert expected.std() > 0.1
        same_logits(model(tokens()).logits, expected)
        done.append(name)
    assert {"untied", "olmoe"} <= set(done)


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
def test_the_text_is_the_networks_with_a_cache_and_without(mode, exported, monkeypatch):
    trained, _, model = exported(mode, "olmoe")
    long, short = tokens(batch=2, seq=9).split(1)
    batch = torch.cat((long, pad(short[:, :4], (5, 0))))
    mask = torch.cat((torch.ones_like(long), torch.tensor([[0] * 5 + [1] * 4])))
    forward, fed = model.network.forward, []
    monkeypatch.setattr(model.network, "forward", lambda t, *past: (fed.append(t.shape[-1]), forward(t, *past))[1])
    generate = partial(model.generate, batch, attention_mask=mask, max_new_tokens=6, do_sample=False, eos_token_id=None)
    for cached, lengths in ((True, [9, 1, 1, 1, 1, 1]), (False, [9, 10, 11, 12, 13, 14])):
        fed.clear()
        found = generate(use_cache=cached)
        assert fed == lengths
        assert found[:1].equal(trained.continued(long, 6))
        assert found[1:, 5:].equal(trained.continued(short[:, :4], 6))
    assert generate(num_beams=2, use_cache=True).equal(generate(num_beams=2, use_cache=False))
    past = model(tokens()[:, :5]).past_key_values
    parts = [model(tokens()[:, places], past_key_values=past).logits for places in (slice(5, 11), slice(11, 17))]
    same_logits(torch.cat(parts, 1), trained.network(tokens())[:, 5:])


def test_plain_needs_no_code_of_ours(exported):
    from transformers import OlmoForCausalLM

    trained, folder, model = exported("pre_norm", "olmo")
    assert trained.beyond is None and type(model) is OlmoForCausalLM and model.generation_config.use_cache
    _, report = OlmoForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())


@torch.no_grad()
@pytest.mark.parametrize("mode", ["pre_norm", "dhc"])
def test_a_large_model_is_written_in_shards_and_its_precision_kept(mode, tmp_path, monkeypatch):
    small = partial(save_torch_state_dict, max_shard_size=9000)
    monkeypatch.setattr("hcexp.huggingface.folder.save_torch_state_dict", small)
    trained = Trained(mode)
    trained.network.to(torch.bfloat16)
    trained.export(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 2
    model = load(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    same_logits(model.float()(tokens()).logits, trained.network.float()(tokens()))


def test_a_folder_is_written_whole_and_never_over_another(tmp_path, monkeypatch):
    trained, folder = Trained("dhc"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(TokenizerFiles, "write", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trained.export(folder)
    assert not folder.exists()
    trained.export(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    with pytest.raises(FileExistsError, match="out exists: delete it, or name another with --to"):
        trained.export(folder)
    plain, other = Trained("pre_norm"), Trained("dhc")
    plain.model["inner"], other.network = 64, plain.network  # weights of another network
    for unfit, message in (
        (plain, r"blocks.0.feed_forward.gate_up.weight has shape \(96, 32\).*needs \(128, 32"),
        (other, "stream.*has shape none"),
    ):
        with pytest.raises(ValueError, match=message):
            unfit.export(tmp_path / "another")
    assert not (tmp_path / "another").exists()
