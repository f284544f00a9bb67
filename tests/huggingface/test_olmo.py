"""The rest of a network's knobs is decided by the tables of names; `test_folder.py` and `test_initial.py` use them."""

from hcexp.configuration import compose
from hcexp.huggingface.olmo import beyond_olmo
from tests.huggingface.conftest import Made, sections
from tests.registered import MODES


def test_what_is_an_olmo():
    for knobs, reason in (
        ({}, None),
        ({"tied": False, "rope_theta": 500.0, "pad_vocabulary_to": 1, "d": 64, "heads": 2, "init": "normal"}, None),
        ({"activation_checkpointing": True}, None),
        ({"norm": "rms_norm"}, "OLMo has no model.norm=rms_norm"),
        ({"norm_affine": True}, "OLMo has no model.norm_affine=True"),
        ({"norm_eps": 1e-6}, "OLMo has no model.norm_eps=1e-06"),
        ({"qk_norm": True}, "OLMo has no model.qk_norm=True"),
        ({"window": 128}, "OLMo has no model.window=128"),  # one that nobody has thought of yet
    ):
        model = {**sections("pre_norm")[0], **knobs}
        assert beyond_olmo(model, plain=True) == reason
        assert beyond_olmo(model, plain=False) == "its residual connections are not those of a plain transformer"
    for scale in ("1b", "7b"):  # the paper's baselines are
        assert beyond_olmo(compose([f"model={scale}"]).model, plain=True) is None


def test_a_mode_that_says_it_is_plain_has_no_weights_of_its_own():
    streams = {mode: Made(mode, tied=False).network.stream for mode in MODES}
    plain = {mode: stream for mode, stream in streams.items() if stream.plain}
    assert "pre_norm" in plain and "shc" not in plain
    assert all(not list(stream.parameters()) and stream.output_init_factor == 1 for stream in plain.values())
