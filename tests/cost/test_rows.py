import pytest

from hcexp.configuration import shipped
from hcexp.cost.rows import listed, of_sweep, ways
from hcexp.study import load_sweep
from tests.registered import MODES


def test_without_a_mode_every_one_is_shown_with_its_defaults_and_network_knobs_are_common_to_all():
    rows = listed(["model=20m", "data.sequence_length=64"])
    assert rows[0].label == "pre_norm" and sorted(row.config.choices.residual for row in rows) == MODES
    assert {(row.config.choices.model, row.config.data.sequence_length) for row in rows} == {("20m", 64)}


@pytest.mark.parametrize(
    ("overrides", "labels"),
    [
        ("residual=shc,dhc residual.n=2,4", ["pre_norm", "shc n=2", "shc n=4", "dhc n=2", "dhc n=4"]),
        ("residual=shc residual.n=range(1,4)", ["pre_norm", "shc n=1", "shc n=2", "shc n=3"]),
        (  # a knob goes to the modes that have it
            "residual=post_norm,shc,dhc residual.n=2 residual.tanh=true,false",
            ["pre_norm", "post_norm", "shc n=2", "dhc n=2", "dhc n=2 tanh=false"],
        ),
        ("residual=dhc,pre_norm,dhc residual.n=4,4", ["pre_norm", "dhc n=4"]),  # a row is shown once
        ("residual=pre_norm", ["pre_norm"]),
        ("residual=dhc", ["pre_norm", "dhc n=4"]),
    ],
)
def test_lists_are_multiplied_and_pre_norm_is_first(overrides, labels):
    assert [row.label for row in listed(overrides.split())] == labels


def test_what_is_no_list_of_modes_is_refused_in_a_line():
    for overrides, line in {
        "residual=post_norm residual.n=4": "residual.n is not a knob of post_norm",
        "residual=post_norm,two_hop residual.n=2,4": "residual.n is not a knob of post_norm, two_hop",
        "residual=dhc residual.tan=false": "residual.tan is not a knob of dhc, did you mean tanh or ",
        "model=1b,7b": "model=1b,7b: only residual and its knobs can be lists here, and compile with --measure",
        "residual=dhc seed=0,1": "seed=0,1: only residual and its knobs can be lists here",
    }.items():
        with pytest.raises(ValueError, match=rf"\A{line}.*\Z"):
            listed(overrides.split())


def test_a_list_of_compile_is_a_way_each():
    assert ways(["residual=shc,dhc", "compile=true,false", "model.d=64"]) == [
        ["residual=shc,dhc", "model.d=64", "compile=True"],
        ["residual=shc,dhc", "model.d=64", "compile=False"],
    ]
    assert ways(["compile=true"]) == [["compile=true"]] and ways(["model.d=64"]) == [["model.d=64"]]


def test_the_rows_of_a_sweep_with_its_baseline_first():
    sweep = load_sweep("table2", shipped("sweeps"))
    rows = of_sweep(sweep, ["scale=60m"])
    assert [row.label for row in rows] == [row.label for row in sweep.rows] and rows[0].label == sweep.baseline
    assert {row.config.choices.model for row in rows} == {"60m"}
    with pytest.raises(ValueError, match="^residual.n=2: --sweep says which residual modes"):
        of_sweep(sweep, ["residual.n=2"])
