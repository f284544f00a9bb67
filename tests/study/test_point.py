import shlex

import pytest

from hcexp.configuration import compose, shipped
from hcexp.run.run import Run
from hcexp.study import load_sweep, plan

ROWS = {"plain": ["residual=pre_norm"], "DHC×2": ["residual=dhc", "residual.n=2"]}


def test_a_plan_goes_seed_by_seed_and_row_by_row(points):
    planned = points(ROWS, seeds=(3, 0))
    assert [point.name for point in planned] == ["plain, seed 3", "DHC×2, seed 3", "plain, seed 0", "DHC×2, seed 0"]
    assert [point.run.config.seed for point in planned] == [3, 3, 0, 0]
    assert planned[1].run.config.residual.n == 2
    assert len({point.run.identity for point in planned}) == 4


def test_rows_win_over_the_sweep_and_the_command_line_over_rows(sweep_file, tmp_path, minute):
    rows = {"a": ["optimizer.lr=0.2"], "b": []}
    sweep = load_sweep(sweep_file(rows, overrides=["optimizer.lr=0.1", "steps=9"]), tmp_path)
    without = [o for o in minute if not o.startswith("steps")]
    assert [p.run.config.optimizer.lr for p in plan(sweep, "tiny", without)] == [0.2, 0.1]
    assert [p.run.config.steps for p in plan(sweep, "tiny", without)] == [9, 9]
    assert [p.run.config.optimizer.lr for p in plan(sweep, "tiny", [*without, "optimizer.lr=0.3"])] == [0.3, 0.3]


def test_the_scale_is_the_plans(sweep_file, tmp_path, minute):
    sweep = load_sweep(sweep_file(ROWS), tmp_path)
    kept = [o for o in minute if not o.startswith(("model.", "data.sequence"))]
    (one, _) = plan(sweep, "60m", [*kept, "model.vocabulary_size=4096", "data.tokenizer=null"])
    assert (one.run.config.model.d, one.run.config.data.sequence_length) == (512, 2048)
    assert one.run.overrides[0] == "scale=60m"


def test_the_command_of_a_point_makes_its_run(points):
    for point in points(ROWS, seeds=(0, 1)):
        program, verb, *arguments = shlex.split(point.command)
        assert (program, verb) == ("hcexp", "train")
        assert Run(compose(arguments), arguments).identity == point.run.identity


def test_a_run_is_called_after_its_row_whatever_that_is_called(points):
    label = "mine's, 'a\\b'\\"
    (point,) = points({label: ["residual=pre_norm"]})
    assert compose(point.arguments).tracking.run_name == f"{label}, seed 0"


@pytest.mark.parametrize("name", sorted(path.stem for path in shipped("sweeps").glob("*.yaml")))
def test_every_shipped_sweep_can_be_planned(name, minute):
    sweep = load_sweep(name, shipped("sweeps"))
    planned = plan(sweep, "tiny", minute)
    assert len(planned) == len(sweep.rows) * len(sweep.seeds)
    # Rows differ in the residual mode alone.
    for point in planned:
        assert all(override.startswith("residual") for override in point.row.overrides)
