import shlex

import pytest

from hcexp.configuration import compose, shipped
from hcexp.run.run import Run
from hcexp.study import Row, Sweep, load_sweep, plan

ROWS = {"plain": ["residual=pre_norm"], "DHC×2": ["residual=dhc", "residual.n=2"]}


def test_a_plan_goes_seed_by_seed_and_row_by_row(points):
    planned = points(ROWS, seeds=[3, 0])
    assert [point.name for point in planned] == ["plain, seed 3", "DHC×2, seed 3", "plain, seed 0", "DHC×2, seed 0"]
    assert [point.run.config.seed for point in planned] == [3, 3, 0, 0]
    assert planned[1].run.config.residual.n == 2
    assert len({point.run.identity for point in planned}) == 4
    for point in planned:
        program, verb, *arguments = shlex.split(point.command)
        assert (program, verb) == ("hcexp", "train")
        assert Run(compose(arguments), arguments).identity == point.run.identity


def test_rows_win_over_the_sweep_and_the_command_line_over_rows(sweep_file, tmp_path, minute):
    rows = {"a": ["optimizer.lr=0.2"], "b": []}
    sweep = load_sweep(sweep_file(rows, overrides=["optimizer.lr=0.1", "steps=9"]), tmp_path)
    without = [o for o in minute if not o.startswith("steps")]
    for own, expected in (((), [0.2, 0.1]), (["optimizer.lr=0.3"], [0.3, 0.3])):
        planned = plan(sweep, "tiny", [*without, *own])
        assert [(p.run.config.optimizer.lr, p.run.config.steps) for p in planned] == [(lr, 9) for lr in expected]


def test_the_scale_is_the_plans(sweep_file, tmp_path, minute):
    sweep = load_sweep(sweep_file({"plain": ["residual=pre_norm"]}), tmp_path)
    kept = [o for o in minute if not o.startswith(("model.", "data.sequence"))]
    (one,) = plan(sweep, "60m", [*kept, "model.vocabulary_size=4096", "data.tokenizer=null"])
    assert (one.run.config.model.d, one.run.config.data.sequence_length) == (512, 2048)
    assert one.run.overrides[0] == "scale=60m"


def test_a_run_is_called_after_its_row_whatever_that_is_called(points):
    label = "mine's, 'a\\b'\\"
    (point,) = points({label: ["residual=pre_norm"]})
    assert compose(point.arguments).tracking.run_name == f"{label}, seed 0"


@pytest.mark.parametrize("knob", ["steps=1", "optimizer.lr=-1", "model.heads=5"])
def test_what_cannot_train_is_told_once_before_any_run(points, minute, knob):
    minute.append(knob)
    with pytest.raises(Exception, match=knob) as error:
        points({**ROWS, "other": ["residual=shc"]})
    assert error.value.__notes__ == ["in the row plain of sweep own"]


def test_every_row_of_a_shipped_sweep_can_be_planned_and_differs_in_the_mode_alone(minute):
    sweeps = [load_sweep(path.stem, shipped("sweeps")) for path in shipped("sweeps").glob("*.yaml")]
    distinct = {(*sweep.overrides, *row.overrides) for sweep in sweeps for row in sweep.rows}
    rows = tuple(Row(" ".join(own), own) for own in sorted(distinct))
    assert len(plan(Sweep("all", "t", None, rows[0].label, rows), "tiny", minute)) == len(rows) > 10
    assert all(override.startswith("residual") for row in rows for override in row.overrides)
