import pytest

from hcexp.configuration import shipped
from hcexp.cost.rows import listed, of_sweep
from hcexp.study import load_sweep
from tests.registered import MODES


def labels(*overrides):
    return [row.label for row in listed(overrides)]


def test_without_a_mode_every_one_is_shown_with_its_defaults():
    rows = listed([])
    assert rows[0].label == "pre_norm"
    assert sorted(row.config.choices.residual for row in rows) == MODES


def test_lists_are_multiplied():
    assert labels("residual=shc,dhc", "residual.n=2,4") == ["pre_norm", "shc n=2", "shc n=4", "dhc n=2", "dhc n=4"]
    rates = [row.config.residual.n for row in listed(["residual=shc", "residual.n=range(1,4)"])[1:]]
    assert rates == [1, 2, 3]


def test_a_knob_goes_to_the_modes_that_have_it():
    rows = listed(["residual=post_norm,shc,dhc", "residual.n=2", "residual.tanh=true,false"])
    assert [row.label for row in rows] == [
        "pre_norm",
        "post_norm",
        "shc n=2",
        "dhc n=2",
        "dhc n=2 tanh=false",
    ]
    assert [row.config.residual.get("tanh") for row in rows] == [None, None, None, True, False]


def test_a_row_is_shown_once_and_pre_norm_first():
    assert labels("residual=dhc,pre_norm,dhc", "residual.n=4,4") == ["pre_norm", "dhc n=4"]
    assert labels("residual=pre_norm") == ["pre_norm"]
    assert labels("residual=dhc") == labels("residual=dhc", "residual.n=4")  # its default


def test_what_is_no_knob_of_a_mode_is_common_to_all_rows():
    for row in listed(["model=20m", "residual=shc", "data.sequence_length=64"]):
        assert (row.config.choices.model, row.config.data.sequence_length) == ("20m", 64)


def test_what_is_no_list_of_modes_is_refused_in_a_line():
    for overrides, line in {
        "residual=post_norm residual.n=4": "residual.n is not a knob of post_norm",
        "residual=post_norm,two_hop residual.n=2,4": "residual.n is not a knob of post_norm, two_hop",
        "residual=dhc residual.tan=false": "residual.tan is not a knob of dhc, did you mean tanh or ",
        "model=1b,7b": "model=1b,7b: only residual and its knobs can be lists here",
        "residual=dhc seed=0,1": "seed=0,1: only residual and its knobs can be lists here",
    }.items():
        with pytest.raises(ValueError) as refused:
            listed(overrides.split())
        assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


def test_the_rows_of_a_sweep_with_its_baseline_first():
    sweep = load_sweep("table2", shipped("sweeps"))
    rows = of_sweep(sweep, ["scale=60m"])
    assert [row.label for row in rows] == [row.label for row in sweep.rows] and rows[0].label == sweep.baseline
    assert {row.config.choices.model for row in rows} == {"60m"}
    named = {row.label: row.config for row in rows}
    assert named["DHC×4 W/O tanh"].residual.tanh is False and named["SHC×2"].residual.n == 2


def test_a_baseline_that_stands_last_comes_first(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("{title: a, baseline: c, rows: [{label: b, overrides: [residual=dhc]}, {label: c, overrides: []}]}")
    assert [row.label for row in of_sweep(load_sweep(path, tmp_path), [])] == ["c", "b"]


def test_a_sweep_says_the_modes_itself():
    for override in ("residual=dhc", "residual.n=4", "+residual.n=4"):
        with pytest.raises(ValueError, match=r"residual.*: --sweep says which residual modes"):
            of_sweep(load_sweep("table2", shipped("sweeps")), [override])
