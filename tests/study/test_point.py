import shlex

import pytest

from hcexp.configuration import compose, shipped
from hcexp.run.run import Run
from hcexp.study import Row, Sweep, load_sweep, plan

LABEL = "mine's, 'a\\b'\\"
ROWS = {"plain": ["residual=pre_norm", "optimizer.lr=0.2", "model.d=64"], LABEL: ["residual=dhc", "residual.n=2"]}


def test_a_plan_goes_seed_by_seed_and_row_by_row_and_the_command_line_wins_over_rows_and_they_over_the_sweep(points):
    planned = points(ROWS, seeds=(3, 0), overrides=("optimizer.lr=0.1", "optimizer.weight_decay=0.7", "steps=9"))
    names = [f"{label}, seed {seed}" for seed in (3, 0) for label in ROWS]
    assert [point.name for point in planned] == names
    assert [compose(point.arguments).tracking.run_name for point in planned] == names
    configs = [point.run.config for point in planned]
    assert [(config.seed, config.optimizer.lr) for config in configs] == [(3, 0.2), (3, 0.1), (0, 0.2), (0, 0.1)]
    for config in configs:
        assert (config.optimizer.weight_decay, config.model.d, config.steps) == (0.7, 32, 6)
    assert configs[1].residual.n == 2 and len({point.run.identity for point in planned}) == 4
    for point in planned:
        program, verb, *arguments = shlex.split(point.command)
        assert (program, verb) == ("hcexp", "train")
        assert Run(compose(arguments), arguments).identity == point.run.identity


def test_the_scale_is_the_plans(minute):
    kept = [o for o in minute if not o.startswith(("model.", "data.sequence"))]
    sweep = Sweep("own", "A question", None, "plain", (Row("plain", ("residual=pre_norm",)),))
    (one,) = plan(sweep, "60m", [*kept, "model.vocabulary_size=4096", "data.tokenizer=null"])
    assert (one.run.config.model.d, one.run.config.data.sequence_length) == (512, 2048)
    assert one.run.overrides[0] == "scale=60m"


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
