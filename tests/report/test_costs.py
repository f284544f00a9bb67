from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from hcexp.cost.benchmark import FILE
from hcexp.cost.estimate import NotCountableError, estimate_cost
from hcexp.report import costs as room
from hcexp.report.render import markdown
from hcexp.report.report import build
from hcexp.report.results import Results
from tests.report.read import section


def costs(sweep, outcomes, folder=None):
    return room.costs(Results(sweep, outcomes), folder)


def rows(found):
    return {row.label: row for row in found.rows}


def test_the_recorded_configuration_is_counted(costly, configuration):
    found = costs(*costly())
    assert found.known and found.remarks == ()
    assert rows(found)["DHC×2"].predicted == estimate_cost(
        OmegaConf.create(configuration("residual=dhc", "residual.n=2"))
    )
    plain, dhc = (row.predicted for row in found.rows)
    assert dhc.parameters.total - plain.parameters.total == dhc.parameters.residual > 0


def test_a_row_is_counted_once_and_not_per_seed(costly, monkeypatch):
    counted = []
    monkeypatch.setattr(room, "estimate_cost", lambda config: counted.append(config.choices.residual))
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

    monkeypatch.setattr(room, "estimate_cost", fail)
    sweep, outcomes = costly()
    found = costs(sweep, outcomes)
    assert {row.predicted for row in found.rows} == {None} and rows(found)["DHC×2"].speed.count == 2
    assert found.remarks[1].startswith("the cost of DHC×2 could not be counted: ")
    assert found.remarks[1].endswith("no value.")
    assert found.remarks[1] in markdown(build(sweep, outcomes, "tiny"))


def test_a_row_without_a_finished_run_has_no_cost(costly):
    sweep, outcomes = costly()
    outcomes = [o for o in outcomes if o.label != "DHC×2"]
    assert rows(costs(sweep, outcomes))["DHC×2"].predicted is None


def test_measurements_of_these_models_join(costly, leave, measured, tmp_path):
    found = costs(*costly())
    assert costs(*costly(), tmp_path) == found
    totals = {row.label: row.predicted.parameters.total for row in found.rows}
    left = {"DHC×2": measured(parameters=totals["DHC×2"], step=1.25), "another": measured()}
    leave(tmp_path, left)
    joined = costs(*costly(), tmp_path)
    assert rows(joined)["DHC×2"].measured == left["DHC×2"] and rows(joined)["OLMo-1B"].measured is None
    assert joined.remarks == ()


def test_measurements_of_other_models_and_what_cannot_be_read_stay_out(costly, leave, measured, tmp_path):
    totals = {row.label: row.predicted.parameters.total for row in costs(*costly()).rows}
    leave(
        tmp_path, {"OLMo-1B": measured(parameters=totals["OLMo-1B"] + 1), "DHC×2": measured(parameters=totals["DHC×2"])}
    )
    joined = costs(*costly(), tmp_path)
    assert {row.measured for row in joined.rows} == {None}  # their ratios are over another baseline
    assert joined.remarks == ("cost.csv beside this report is of other models (OLMo-1B), and is left out.",)
    (tmp_path / FILE).write_text("row\nOLMo-1B\n")
    joined = costs(*costly(), tmp_path)
    assert {row.measured for row in joined.rows} == {None} and "is no table that hcexp cost" in joined.remarks[0]


@pytest.fixture
def report(costly):
    return build(*costly(), "tiny")


@pytest.fixture
def both(report, costly, leave, measured, tmp_path):
    """The same report with measured steps."""
    totals = {row.label: row.predicted.parameters.total for row in report.costs.rows}
    slower = measured(parameters=totals["DHC×2"], step=1.25, step_low=1.2, step_high=1.3125, peak=1.0625)
    leave(tmp_path, {"OLMo-1B": measured(parameters=totals["OLMo-1B"]), "DHC×2": slower})
    return build(*costly(), "tiny", folder=tmp_path)


def table(report):
    (found,) = section(report, "Cost").tables
    return found


def cells(report):
    """The headers, and the texts in order by label."""
    return [column.header for column in table(report).columns], {line[0]: list(line[1:]) for line in table(report).rows}


def test_the_table_has_what_was_counted_and_what_the_runs_say(report):
    headers, found = cells(report)
    assert headers[1:3] == ["parameters", "more %"]
    assert headers[-2:] == ["run's tokens/s, ratio", "run's peak memory, ratio"]
    assert found["OLMo-1B"][-2:] == ["–", "–"] and found["DHC×2"][0] > found["OLMo-1B"][0]
    assert found["DHC×2"][-2].startswith("0.55 ± ") and found["DHC×2"][-1] == "1.25 ± 0.00"
    notes = " ".join(table(report).notes)
    assert "were not interleaved" in notes and "hcexp cost --sweep asked scale=tiny --measure" in notes


def test_measured_steps_have_columns_with_device_and_command(both):
    headers, found = cells(both)
    assert headers[-3:] == ["step time, ratio", "quartiles", "step's peak memory, ratio"]
    assert found["OLMo-1B"][-3:] == ["–", "–", "–"] and found["DHC×2"][-3:] == ["1.250", "1.200 to 1.312", "1.062"]
    notes = " ".join(table(both).notes)
    assert "a device, of a kind" in notes and "Measured with: hcexp cost --sweep asked --measure" in notes
    assert "15 rounds" in notes and "an allocator" in notes


def test_what_is_not_known_shows_nothing(costly, sweep, losses):
    asked, outcomes = costly()
    _, found = cells(build(asked, outcomes[2:], "tiny"))
    assert set(found["OLMo-1B"]) == {"–"} and found["DHC×2"][0] != "–"
    assert found["DHC×2"][1] == found["DHC×2"][-1] == "–"
    bare = [replace(o, result={k: v for k, v in o.result.items() if k != "config"}) for o in outcomes]
    headers, found = cells(build(asked, bare, "tiny"))
    assert headers == ["row", "run's tokens/s, ratio", "run's peak memory, ratio"]
    assert found["DHC×2"][1] == "1.25 ± 0.00"
    nothing = build(sweep(), losses({"OLMo-1B": [4.0], "DHC×4": [3.9]}), "tiny")
    assert not any(section.title == "Cost" for section in nothing.sections)
