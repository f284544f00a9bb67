from pathlib import Path

from hcexp.tracking import parameters


def test_a_configuration_is_flattened():
    config = {
        "model": {"_target_": "hcexp.model.X", "d": 128, "norm": {"eps": 1e-5}},
        "seed": 0,
        "betas": [0.9, 0.95],
    }
    assert parameters(config) == {
        "model.d": "128",
        "model.norm.eps": "1e-05",
        "seed": "0",
        "betas": "[0.9, 0.95]",
    }


def test_places_and_what_is_not_set_are_left_out():
    config = {
        "paths": {"runs": "runs"},
        "hydra": {"job": {"name": "x"}},
        "a": Path("x"),
        "b": "/home/ada",
        "c": "~/x",
        "d": None,
        "data": {"files": "train/*.parquet", "paths": "kept"},
    }
    assert parameters(config) == {"data.files": "train/*.parquet", "data.paths": "kept"}


def test_a_long_value_is_cut_visibly():
    (value,) = parameters({"a": "x" * 251}).values()
    assert len(value) == 250 and value.endswith("x…")
    assert parameters({"a": "x" * 250}) == {"a": "x" * 250}
