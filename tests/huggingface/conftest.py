"""Small networks of every mode that is registered in `conf/residual/`, and checkpoints of OLMo as large."""

from functools import cache

import pytest
import torch
from omegaconf import OmegaConf

from hcexp.configuration import compose
from hcexp.data import TextTokenizer
from hcexp.huggingface import export
from hcexp.huggingface.network import build

SIZES = {"d": 32, "layers": 2, "heads": 4, "inner": 48, "vocabulary_size": 100}
NETWORKS = {
    "olmo": {},
    "untied": {"tied": False, "rope_theta": 500.0, "pad_vocabulary_to": 1},
    "olmoe": {"tied": False, "norm": "rms_norm", "norm_affine": True, "norm_eps": 1e-6, "qk_norm": True},
    "whole vocabulary": {"tied": False, "vocabulary_size": 4096},
}


@cache
def sections(mode):
    config = OmegaConf.to_container(compose([f"residual={mode}"]), resolve=True)
    return config["model"], config["residual"]


def tokens(batch=2, seq=17):
    return torch.randint(100, (batch, seq), generator=torch.Generator().manual_seed(0))


def same_logits(one, other):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


class Made:
    """A small network with the sections of the configuration that it comes from; its weights are not drawn yet."""

    def __init__(self, mode="pre_norm", residual=None, **knobs):
        model, of_mode = sections(mode)
        self.model = {**model, **SIZES, **knobs}
        self.residual = {**of_mode, **(residual or {})}
        self.network = build(self.model, self.residual)


class Trained(Made):
    """A network with every parameter moved away from its initial value."""

    def __init__(self, mode="pre_norm", **knobs):
        super().__init__(mode, **knobs)
        self.network.reset_parameters(0)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)

    def export(self, folder, tokenizer=None):
        weights, tokenizer = self.network.state_dict(), tokenizer or TextTokenizer()
        return export(self.model, self.residual, weights, tokenizer, folder, sequence_length=64)

    @torch.no_grad()
    def continued(self, prompt, steps):
        """The prompt, (1, seq), and the most probable token after it, again and again."""
        for _ in range(steps):
            prompt = torch.cat((prompt, self.network(prompt)[:, -1:].argmax(-1)), dim=-1)
        return prompt


@pytest.fixture(scope="session", autouse=True)
def modules(tmp_path_factory):
    """The place where `transformers` copies the code of a folder to; and no network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        place = str(tmp_path_factory.mktemp("modules"))
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", place)
        yield


def load(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Gives a network, its exported folder and what `transformers` loads there; nobody may change them."""

    @cache
    def made(mode, network):
        trained, folder = Trained(mode, **NETWORKS[network]), tmp_path_factory.mktemp("exported") / "out"
        trained.beyond = trained.export(folder)
        return trained, folder, load(folder)

    return made


@pytest.fixture
def olmo(tmp_path):
    """Makes a random checkpoint of `OlmoForCausalLM`, and gives it with its folder."""
    from transformers import OlmoConfig, OlmoForCausalLM

    small = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "eos_token_id": 0}
    small |= {"num_attention_heads": 4, "tie_word_embeddings": True, "initializer_range": 0.2, "pad_token_id": None}

    def make(name="olmo", seed=0, save=None, **keys):
        torch.manual_seed(seed)
        model = OlmoForCausalLM(OlmoConfig(**{**small, **keys}))
        model.save_pretrained(tmp_path / name, **(save or {}))
        return model.eval(), tmp_path / name

    return make
