from hcexp.configuration import compose
from hcexp.study.sweep.grid import with_grid
from hcexp.study.sweep.overrides import read
from hcexp.study.sweep.sweep import Row


def test_every_combination_is_a_row_and_the_last_knob_changes_fastest():
    rows = with_grid("grid", {"residual.n": [2, 4], "optimizer.lr": [0.001, 3e-4]})
    assert [row.label for row in rows] == ["n=2, lr=0.001", "n=2, lr=0.0003", "n=4, lr=0.001", "n=4, lr=0.0003"]
    assert rows[1] == Row("n=2, lr=0.0003", ("residual.n=2", "optimizer.lr=0.0003"))
    rows = with_grid("grid", {"steps": [10, 20]}, [Row("a", ("residual=shc",)), Row("b")])
    assert [row.label for row in rows] == ["a, steps=10", "a, steps=20", "b, steps=10", "b, steps=20"]
    assert rows[0].overrides == ("residual=shc", "steps=10")
    (row,) = with_grid("grid", {"callbacks.curves.every": [1], "evaluation.every": [2], "residual.n": [4]})
    assert row.label == "callbacks.curves.every=1, evaluation.every=2, n=4", "of two that end alike the whole name"


def test_values_mean_to_hydra_what_they_mean_in_the_file():
    values = ["it's, a \\ {b}", "word", None, True, 1e-05, 3, "3e-4", ""]
    for value, row in zip(values, with_grid("grid", {"tracking.run_name": values}), strict=True):
        assert read(row.overrides) == {"tracking.run_name": 3e-4 if value == "3e-4" else value}
    (row,) = with_grid("grid", {"tracking.run_name": values[:1], "residual": ["dhc"]})
    config = compose(row.overrides)
    assert (config.tracking.run_name, config.choices.residual) == (values[0], "dhc")
