"""The tables of names hold every weight of both sides, and the rest of a network's knobs is decided by them."""

import pytest
import torch

from hcexp.configuration import compose
from hcexp.huggingface.olmo import beyond_olmo, stacked_names, to_olmo
from tests.huggingface.conftest import MODES, Made, Trained, sections


@pytest.mark.parametrize("tied", [True, False])
def test_the_names_are_those_of_both_sides_and_the_parts_the_whole(olmo, tied):
    theirs, _ = olmo(tie_word_embeddings=tied)
    ours = Trained("pre_norm", tied=tied).network
    names, weights = stacked_names(2, tied), ours.state_dict()
    assert set(names) == {name for name, _ in ours.named_parameters()}
    assert {name for parts in names.values() for name in parts} == {name for name, _ in theirs.named_parameters()}
    parts = to_olmo(weights, layers=2, tied=tied)
    for name, split in names.items():
        assert torch.cat([parts[part] for part in split]).equal(weights[name])
    assert len({part.untyped_storage().data_ptr() for part in parts.values()}) == len(parts)


@pytest.mark.parametrize(
    "knobs, reason",
    [
        ({}, None),
        ({"tied": False, "rope_theta": 500.0, "pad_vocabulary_to": 1, "d": 64, "heads": 2, "init": "normal"}, None),
        ({"activation_checkpointing": True}, None),
        ({"norm": "rms_norm"}, "OLMo has no model.norm=rms_norm"),
        ({"norm_affine": True}, "OLMo has no model.norm_affine=True"),
        ({"norm_eps": 1e-6}, "OLMo has no model.norm_eps=1e-06"),
        ({"qk_norm": True}, "OLMo has no model.qk_norm=True"),
        ({"window": 128}, "OLMo has no model.window=128"),  # one that nobody has thought of yet
    ],
)
def test_what_is_an_olmo(knobs, reason):
    model = {**sections("pre_norm")[0], **knobs}
    assert beyond_olmo(model, plain=True) == reason
    assert beyond_olmo(model, plain=False) == "its residual connections are not those of a plain transformer"


def test_the_papers_baselines_are():
    assert [beyond_olmo(compose([f"model={scale}"]).model, plain=True) for scale in ("1b", "7b")] == [None, None]


def test_a_mode_that_says_it_is_plain_has_no_weights_of_its_own():
    streams = {mode: Made(mode, tied=False).network.stream for mode in MODES}
    plain = {mode: stream for mode, stream in streams.items() if stream.plain}
    assert "pre_norm" in plain and "shc" not in plain
    assert all(not list(stream.parameters()) and stream.output_init_factor == 1 for stream in plain.values())
