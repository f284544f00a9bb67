from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from hcexp.report import build, markdown
from hcexp.report import costs as room
from hcexp.report.costs import costs, with_measured
from hcexp.report.measured import FILE
from hcexp.report.predicted import NotCountableError, predicted
from hcexp.study.sweep.sweep import Outcome


def rows(found):
    return {row.label: row for row in found.rows}


def test_the_recorded_configuration_is_counted(costly, configuration):
    found = costs(*costly())
    assert found.known and found.remarks == ()
    assert rows(found)["DHC×2"].predicted == predicted(OmegaConf.create(configuration("residual=dhc", "residual.n=2")))
    plain, dhc = (row.predicted for row in found.rows)
    assert dhc.parameters.total - plain.parameters.total == dhc.parameters.residual > 0


def test_a_row_is_counted_once_and_not_per_seed(costly, monkeypatch):
    counted = []
    monkeypatch.setattr(room, "predicted", lambda config: counted.append(config.choices.residual))
    costs(*costly())
    assert counted == ["pre_norm", "dhc"]


def test_speed_and_memory_are_over_the_baselines_of_the_same_seed(costly):
    found = rows(costs(*costly()))
    # 500/1000 and 1200/2000; the ratio of the means would be 0.567.
    assert found["DHC×2"].speed.mean == pytest.approx(0.55) and found["DHC×2"].speed.count == 2
    assert found["DHC×2"].memory.mean == pytest.approx(1.25)
    assert found["OLMo-1B"].speed.mean == found["OLMo-1B"].memory.mean == 1


def test_seeds_without_a_baseline_do_not_count(costly):
    sweep, outcomes = costly()
    found = rows(costs(sweep, outcomes[1:]))
    assert found["DHC×2"].speed.count == 1 and found["DHC×2"].speed.mean == pytest.approx(0.6)
    found = rows(costs(sweep, outcomes[2:]))
    assert found["DHC×2"].speed is None and found["OLMo-1B"].predicted is None
    assert found["DHC×2"].predicted is not None


def test_runs_that_recorded_nothing_have_no_cost(sweep, losses):
    found = costs(sweep(), losses({"OLMo-1B": [4.0], "DHC×4": [3.9]}))
    assert not found.known and {row.predicted for row in found.rows} == {None}


def test_a_configuration_that_cannot_be_built_any_more_is_told(costly):
    sweep, outcomes = costly()
    for change in ({"_target_": "hcexp.residual.Gone"}, {"n": -1}):
        broken = {**outcomes[-1].result["config"], "residual": {**outcomes[-1].result["config"]["residual"], **change}}
        runs = [replace(o, result={**o.result, "config": broken}) if o.label == "DHC×2" else o for o in outcomes]
        found = costs(sweep, runs)
        assert rows(found)["DHC×2"].predicted is None and rows(found)["DHC×2"].speed.count == 2
        assert rows(found)["OLMo-1B"].predicted is not None
        (remark,) = found.remarks
        assert remark.startswith("DHC×2: today's code cannot build") and "\n" not in remark


@pytest.mark.parametrize("error", [RuntimeError("no value\nat all"), NotCountableError("no value")])
def test_a_mode_that_cannot_be_counted_is_told_and_breaks_no_report(costly, monkeypatch, error):
    def fail(config):
        raise error

    monkeypatch.setattr(room, "predicted", fail)
    sweep, outcomes = costly()
    found = costs(sweep, outcomes)
    assert {row.predicted for row in found.rows} == {None} and rows(found)["DHC×2"].speed.count == 2
    assert found.remarks[1].startswith("the cost of DHC×2 could not be counted: ")
    assert found.remarks[1].endswith("no value.")
    assert found.remarks[1] in markdown(build(sweep, outcomes, "tiny"))


def test_a_row_without_a_finished_run_has_no_cost(costly):
    sweep, outcomes = costly()
    outcomes = [o for o in outcomes if o.label != "DHC×2"]
    assert isinstance(outcomes[0], Outcome) and rows(costs(sweep, outcomes))["DHC×2"].predicted is None


def test_measurements_of_these_models_join(costly, leave, measured, tmp_path):
    found = costs(*costly())
    assert with_measured(found, tmp_path) == found
    totals = {row.label: row.predicted.parameters.total for row in found.rows}
    left = {"DHC×2": measured(parameters=totals["DHC×2"], step=1.25), "another": measured()}
    leave(tmp_path, left)
    joined = with_measured(found, tmp_path)
    assert rows(joined)["DHC×2"].measured == left["DHC×2"] and rows(joined)["OLMo-1B"].measured is None
    assert joined.remarks == ()


def test_measurements_of_other_models_stay_out(costly, leave, measured, tmp_path):
    found = costs(*costly())
    totals = {row.label: row.predicted.parameters.total for row in found.rows}
    leave(
        tmp_path, {"OLMo-1B": measured(parameters=totals["OLMo-1B"] + 1), "DHC×2": measured(parameters=totals["DHC×2"])}
    )
    joined = with_measured(found, tmp_path)
    assert {row.measured for row in joined.rows} == {None}  # their ratios are over another baseline
    assert joined.remarks == ("cost.csv beside this report is of other models (OLMo-1B), and is left out.",)


def test_a_table_that_cannot_be_read_is_told_and_breaks_no_report(costly, tmp_path):
    (tmp_path / FILE).write_text("row\nOLMo-1B\n")
    joined = with_measured(costs(*costly()), tmp_path)
    assert {row.measured for row in joined.rows} == {None} and "is no table that hcexp cost" in joined.remarks[0]
