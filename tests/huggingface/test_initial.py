"""A network that starts from an OLMo's weights computes what the OLMo did, whatever mode it goes on in."""

import json
import shutil

import pytest
import torch

from hcexp.huggingface import OlmoWeights
from tests.huggingface.conftest import NETWORKS, Made, Trained, tokens


def started(folder, mode="pre_norm", seed=0, **knobs):
    """A network as its training starts."""
    made = Made(mode, **knobs)
    made.network.initial = OlmoWeights(str(folder), made.model, made.network)
    made.network.reset_parameters(seed)
    return made.network


def assert_same(one, other, names=lambda name: True):
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert a.equal(b) == names(name), name


@torch.no_grad()
@pytest.mark.parametrize("save", [{}, {"max_shard_size": "30KB"}], ids=["one file", "shards"])
@pytest.mark.parametrize("tied", [True, False])
def test_pre_norm_starts_as_the_olmo(olmo, tied, save):
    theirs, folder = olmo(tie_word_embeddings=tied, save=save)
    expected = theirs(tokens()).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(started(folder, tied=tied, seed=5)(tokens()), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("mode", ["shc", "dhc"])
def test_hyper_connections_start_as_the_olmo_with_the_mean(olmo, mode, n):
    theirs, folder = olmo()
    model = started(folder, mode, residual={"n": n, "reduce": "mean"})
    torch.testing.assert_close(model(tokens()), theirs(tokens()).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("n", [2, 3, 4, 8])
@pytest.mark.parametrize("mode", ["shc", "dhc"])
def test_with_the_sum_they_start_as_one_whose_last_norm_has_a_smaller_eps(olmo, mode, n):
    """LayerNorm of n x is that of x with ε / n²: a factor near 1 + ε / (2 var x), here within 1e-5 of 1."""
    theirs, folder = olmo()
    found, expected = started(folder, mode, residual={"n": n})(tokens()), theirs(tokens()).logits
    assert (found - expected).norm() < 1e-5 * expected.norm()
    plain = started(folder)
    plain.stream.norm.eps /= n**2
    torch.testing.assert_close(found, plain(tokens()), rtol=1e-5, atol=1e-5)


def test_no_init_factor_falls_on_loaded_weights(olmo):
    _, folder = olmo()
    one, other = (started(folder, "dhc", residual={"output_init_exponent": e}) for e in (0.0, 1.0))
    assert one.stream.output_init_factor != other.stream.output_init_factor
    assert_same(one, other)


def test_what_the_mode_adds_starts_as_it_always_does(olmo):
    _, folder = olmo()
    drawn = Made("dhc", norm_affine=True).network
    drawn.reset_parameters(0)
    assert_same(started(folder, "dhc", norm_affine=True), drawn, lambda name: name.startswith("stream."))


def test_what_was_exported_is_read_back(tmp_path):
    trained = Trained(**NETWORKS["untied"])
    trained.export(tmp_path / "out")
    assert_same(started(tmp_path / "out", **NETWORKS["untied"]), trained.network)


def test_it_reads_what_older_versions_of_transformers_wrote(olmo):
    theirs, folder = olmo(rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    new = started(folder, rope_theta=500.0)
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"]
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": 500.0, "rope_scaling": None}))
    assert_same(started(folder, rope_theta=500.0), new)
    with torch.no_grad():
        torch.testing.assert_close(new(tokens()), theirs(tokens()).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("knob", "value", "theirs"),
    [
        ("d", 64, 32),
        ("layers", 3, 2),
        ("heads", 2, 4),
        ("inner", 64, 48),
        ("tied", False, True),
        ("norm", "rms_norm", "layer_norm"),
        ("qk_norm", True, False),
        ("norm_eps", 1e-6, 1e-5),
        ("rope_theta", 500.0, 10000.0),
    ],
)
def test_a_knob_that_does_not_fit_is_named_with_both_values(olmo, knob, value, theirs):
    _, folder = olmo()
    with pytest.raises(ValueError) as error:
        started(folder, **{knob: value})
    assert str(error.value) == f"model.{knob}={value}, but init_from={folder} has {theirs}: set model.{knob}={theirs}"


@pytest.mark.parametrize(("rows", "multiple", "fitting"), [(50280, 128, 1), (50304, 1, 64), (50281, 128, 50281)])
def test_another_padding_of_the_vocabulary_is_named_with_what_fits(olmo, rows, multiple, fitting):
    _, folder = olmo(hidden_size=4, intermediate_size=4, vocab_size=rows, num_attention_heads=2)
    knobs = {"d": 4, "inner": 4, "heads": 2, "vocabulary_size": 50280}
    with pytest.raises(ValueError) as error:
        started(folder, pad_vocabulary_to=multiple, **knobs)
    padded = -(-50280 // multiple) * multiple
    assert str(error.value) == (
        f"model.vocabulary_size=50280, which model.pad_vocabulary_to={multiple} pads to {padded}, "
        f"but init_from={folder} has {rows} rows: set model.pad_vocabulary_to={fitting}"
    )
    started(folder, pad_vocabulary_to=fitting, **knobs)


def test_a_vocabulary_that_is_too_large_is_refused(olmo):
    _, folder = olmo()
    with pytest.raises(ValueError, match=r"pads to 256, but init_from=.* has 128 rows: it has too few$"):
        started(folder, vocabulary_size=129)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"clip_qkv": 8.0}, "has clip_qkv=8.0, which the network here has not: allowed is clip_qkv=None"),
        ({"attention_bias": True}, "has attention_bias=True"),
        ({"hidden_act": "gelu"}, "has hidden_act=gelu"),
        ({"num_key_value_heads": 2}, "has num_key_value_heads=2, .* allowed is num_key_value_heads=4"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "has rope_type=linear"),
    ],
)
def test_an_olmo_that_does_more_is_refused(olmo, keys, line):
    _, folder = olmo(**keys)
    with pytest.raises(ValueError, match=f"^init_from=.* {line}"):
        started(folder)


def test_another_model_is_refused(olmo):
    _, folder = olmo()
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for kind in ("olmo2", "llama", "hcexp"):
        path.write_text(json.dumps({**config, "model_type": kind}))
        with pytest.raises(ValueError, match=f"has model_type={kind}: it must be olmo"):
            started(folder)
    path.write_text(json.dumps({key: value for key, value in config.items() if key != "hidden_size"}))
    with pytest.raises(ValueError, match="its config.json has no hidden_size"):
        started(folder)
    path.write_text("{")
    with pytest.raises(ValueError, match="init_from=.*: its config.json is damaged"):
        started(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="init_from=.* has no config.json"):
        started(folder)


def test_weights_of_other_shapes_or_names_are_refused(olmo):
    _, folder = olmo()
    _, other = olmo("other", num_hidden_layers=1)
    _, wide = olmo("wide", hidden_size=64)
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ValueError, match="has no weight model.layers.1.self_attn.q_proj.weight"):
        started(folder)
    shutil.copy(wide / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"has model.embed_tokens of shape \(128, 64\), where .* has \(128, 32\)"):
        started(folder)


@pytest.mark.parametrize("source", ["/nowhere/olmo", "./olmo", "a/b/c", "olmo"])
def test_a_folder_that_is_not_there_is_named(source):
    with pytest.raises(FileNotFoundError, match=f"init_from={source}: there is no such folder"):
        started(source)


def test_a_hub_that_is_not_reached_is_one_line():
    with pytest.raises(ConnectionError, match="^init_from=nobody/nothing is no folder, nor on the hub: [^\n]+$"):
        started("nobody/nothing")
