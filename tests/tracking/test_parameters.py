from pathlib import Path

from omegaconf import OmegaConf

from hcexp.configuration import compose
from hcexp.tracking.parameters import headline_params, labels, parameters


def test_a_configuration_is_flattened_without_places_and_what_is_not_set():
    config = {"model": {"_target_": "hcexp.model.X", "d": 128, "norm": {"eps": 1e-5}}, "betas": [0.9, 0.95]}
    kept = {"model.d": "128", "model.norm.eps": "1e-05", "betas": "[0.9, 0.95]"}
    config |= {"data": {"files": "train/*.parquet", "paths": "kept"}, "long": "x" * 251, "short": "x" * 250}
    kept |= {"data.files": "train/*.parquet", "data.paths": "kept", "long": "x" * 249 + "…", "short": "x" * 250}
    config |= {"paths": {"runs": "runs"}, "hydra": {"job": {"name": "x"}}, "tracking": {"run_name": "DHC×2, seed 0"}}
    config |= {"a": Path("x"), "b": "/home/ada", "c": "~/x", "d": None}
    assert parameters(config) == kept


def config(*overrides):
    return OmegaConf.to_container(compose(overrides), resolve=True)


def test_runs_are_told_apart_by_their_mode_and_its_knobs_and_whatever_the_overrides_name():
    few = headline_params(config("residual=dhc", "residual.n=2"))
    assert (few["residual"], few["residual.n"], few["residual.tanh"]) == ("dhc", "2", "True")
    assert (few["scale"], few["seed"], few["optimizer.lr"]) == ("tiny", "0", "0.003")
    assert len(few) < 20 and not any(name.startswith(("callbacks", "trainer.max", "tracking")) for name in few)
    overrides = ["schedule=linear", "++optimizer.weight_decay=0.2", "callbacks.curves.ema=0.9"]
    few = headline_params(config(*overrides), overrides)
    expected = {"schedule": "linear", "optimizer.weight_decay": "0.2", "callbacks.curves.ema": "0.9"}
    assert expected.items() <= few.items()
    assert not expected.keys() & headline_params(config(*overrides)).keys()


def test_tags_name_the_mode_and_what_it_has():
    expected = {"mode": "dhc", "n": "4", "tanh": "False", "scale": "tiny", "seed": "3"}
    assert labels(config("residual=dhc", "residual.tanh=false", "seed=3")) == expected
    assert labels(config()) == {"mode": "pre_norm", "scale": "tiny", "seed": "0"}
