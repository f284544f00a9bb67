"""A network that starts from an OLMo's weights computes what the OLMo did, whatever mode it goes on in."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from hcexp.disk.checksum import file_checksum
from hcexp.huggingface import OlmoWeights
from tests.huggingface.conftest import NETWORKS, Made, same_logits, tokens


def started(folder, mode="pre_norm", seed=0, **knobs):
    """A network as its training starts."""
    made = Made(mode, **knobs)
    made.network.initial = OlmoWeights(folder, made.model, made.network)
    made.network.reset_parameters(seed)
    return made.network


def assert_same(one, other, names=lambda name: True):
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert a.equal(b) == names(name), name


@torch.no_grad()
@pytest.mark.parametrize("tied, save", [(True, {}), (False, {"max_shard_size": "30KB"})], ids=["tied", "in shards"])
def test_pre_norm_starts_as_the_olmo(olmo, tied, save):
    theirs, folder = olmo(tie_word_embeddings=tied, save=save)
    assert theirs(tokens()).logits.std() > 0.1 and (len(list(folder.glob("*.safetensors"))) > 1) == bool(save)
    same_logits(started(folder, tied=tied, seed=5)(tokens()), theirs(tokens()).logits)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["shc", "dhc"])
def test_hyper_connections_start_as_the_olmo(olmo, mode):
    """With the sum, LayerNorm of n x is that of x with ε / n²: a factor within 1e-5 of 1 here."""
    theirs, folder = olmo()
    expected, plain = theirs(tokens()).logits, started(folder)
    eps = plain.stream.norm.eps
    for n in (1, 2, 3, 4, 8):
        same_logits(started(folder, mode, residual={"n": n, "reduce": "mean"})(tokens()), expected)
        total = started(folder, mode, residual={"n": n})(tokens())
        assert (total - expected).norm() < 1e-5 * expected.norm()
        plain.stream.norm.eps = eps / n**2
        same_logits(total, plain(tokens()))


def test_no_init_factor_falls_on_loaded_weights_and_the_mode_starts_as_ever(olmo):
    _, folder = olmo()
    one, other = (started(folder, "dhc", residual={"output_init_exponent": e}) for e in (0.0, 1.0))
    assert one.stream.output_init_factor != other.stream.output_init_factor
    assert_same(one, other)
    drawn = Made("dhc", norm_affine=True).network
    drawn.reset_parameters(0)
    assert_same(started(folder, "dhc", norm_affine=True), drawn, lambda name: name.startswith("stream."))


def test_it_reads_what_was_exported_and_what_older_versions_of_transformers_wrote(exported, tmp_path):
    trained, folder, _ = exported("pre_norm", "untied")  # with another rope_theta
    assert_same(started(folder, **NETWORKS["untied"]), trained.network)
    shutil.copytree(folder, tmp_path / "new")
    config = json.loads((folder / "config.json").read_text())
    rope = {"rope_type": "default", "rope_theta": config.pop("rope_theta")}
    (tmp_path / "new" / "config.json").write_text(json.dumps({**config, "rope_parameters": rope}))
    assert_same(started(tmp_path / "new", **NETWORKS["untied"]), trained.network)


def refused(folder, error=ValueError, **knobs):
    """The line with which a start from a folder is refused."""
    with pytest.raises(error) as caught:
        started(folder, **knobs)
    return str(caught.value)


def test_a_knob_that_does_not_fit_is_named_with_both_values(olmo):
    _, folder = olmo()
    pairs = {"d": (64, 32), "layers": (3, 2), "heads": (2, 4), "inner": (64, 48), "tied": (False, True)}
    pairs |= {"norm": ("rms_norm", "layer_norm"), "qk_norm": (True, False), "norm_eps": (1e-6, 1e-5)}
    for knob, (ours, theirs) in {**pairs, "rope_theta": (500.0, 10000.0)}.items():
        line = refused(folder, **{knob: ours})
        assert line == f"model.{knob}={ours}, but init_from={folder} has {theirs}: set model.{knob}={theirs}"


@pytest.mark.parametrize(("rows", "multiple", "fitting"), [(50280, 128, 1), (50304, 1, 64), (50281, 128, 50281)])
def test_another_padding_of_the_vocabulary_is_named_with_what_fits(olmo, rows, multiple, fitting):
    _, folder = olmo(hidden_size=4, intermediate_size=4, vocab_size=rows, num_attention_heads=2)
    knobs = {"d": 4, "inner": 4, "heads": 2, "vocabulary_size": 50280}
    padded = -(-50280 // multiple) * multiple
    assert refused(folder, pad_vocabulary_to=multiple, **knobs) == (
        f"model.vocabulary_size=50280, which model.pad_vocabulary_to={multiple} pads to {padded}"
        f", but init_from={folder} has {rows} rows: set model.pad_vocabulary_to={fitting}"
    )
    started(folder, pad_vocabulary_to=fitting, **knobs)


def test_what_is_no_fitting_olmo_is_refused(olmo):
    _, folder = olmo()
    assert refused(folder, vocabulary_size=129).endswith(f"init_from={folder} has 128 rows: it has too few")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for keys, line in (
        ({"clip_qkv": 8.0}, " has clip_qkv=8.0, which the network here has not: allowed is clip_qkv=None"),
        ({"attention_bias": True}, " has attention_bias=True"),
        ({"hidden_act": "gelu"}, " has hidden_act=gelu"),
        ({"num_key_value_heads": 2}, " has num_key_value_heads=2"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, " has rope_type=linear"),
        ({"model_type": "olmo2"}, " has model_type=olmo2: it must be olmo"),
    ):
        path.write_text(json.dumps({**config, **keys}))
        assert refused(folder).startswith(f"init_from={folder}{line}")
    path.write_text(json.dumps({key: value for key, value in config.items() if key != "hidden_size"}))
    assert "its config.json has no hidden_size" in refused(folder)
    path.write_text("{")
    assert refused(folder).startswith(f"init_from={folder}: its config.json is damaged")
    path.unlink()
    assert refused(folder, FileNotFoundError) == f"init_from={folder} has no config.json"
    path.write_text(json.dumps(config))
    for name, key, value, line in (
        ("short", "num_hidden_layers", 1, "has no weight model.layers.1."),
        ("wide", "hidden_size", 64, "has model.embed_tokens of shape (128, 64), "),
    ):
        _, other = olmo(name, **{key: value})
        shutil.copy(other / "model.safetensors", folder / "model.safetensors")
        assert line in refused(folder)


def test_what_is_nowhere_is_named():
    for source in ("/nowhere/olmo", "./olmo", "a/b/c", "olmo"):
        assert refused(source, FileNotFoundError) == f"init_from={source}: there is no such folder"
    line = refused("nobody/nothing", ConnectionError)
    assert line.startswith("init_from=nobody/nothing is no folder, nor on the hub: ") and "\n" not in line


@pytest.mark.parametrize("save", [{}, {"max_shard_size": "30KB"}], ids=["one file", "shards"])
def test_the_hub_tells_the_checksum_and_gives_the_weights_of_one_commit_later(olmo, save, monkeypatch, tmp_path):
    theirs, local = olmo(save=save)
    hub, asked = tmp_path / "c0ffee", []
    hub.mkdir()
    shutil.copy(local / "config.json", hub)

    def download(name, revision, allow_patterns):
        asked.append((name, revision))
        return shutil.copytree(local, hub, dirs_exist_ok=True)

    def told(name, revision, files_metadata):
        files = {path.name: file_checksum(path) for path in sorted(local.glob("*.safetensors"), reverse=True)}
        lfs = [SimpleNamespace(rfilename=name, lfs=SimpleNamespace(sha256=sha256)) for name, sha256 in files.items()]
        return SimpleNamespace(siblings=lfs)

    monkeypatch.setattr("hcexp.huggingface.initial.hf_hub_download", lambda name, file: str(hub / file))
    monkeypatch.setattr("hcexp.huggingface.initial.snapshot_download", download)
    monkeypatch.setattr("hcexp.huggingface.initial.model_info", told)
    made = Made()
    made.network.initial = OlmoWeights("an/olmo", made.model, made.network)
    checksum = OlmoWeights(local, made.model, made.network).checksum
    assert made.network.initial.checksum == checksum and not asked
    made.network.reset_parameters(0)
    assert asked == [("an/olmo", "c0ffee")]
    with torch.no_grad():
        same_logits(made.network(tokens()), theirs(tokens()).logits)
    monkeypatch.setattr("hcexp.huggingface.initial.model_info", lambda *a, **k: 1 / 0)  # away: what is here tells it
    assert OlmoWeights("an/olmo", made.model, made.network).checksum == checksum
