from copy import deepcopy
from dataclasses import replace

import pytest

from hcexp.report.looks import look
from hcexp.report.render import html, markdown
from hcexp.report.report import build
from hcexp.study.sweep.sweep import Tuning
from tests.report.read import said, shown

VALUES = {"OLMo-1B": [4.0], "DHC×1": [4.1], "DHC×2": [3.9], "DHC×4": [3.8]}
METRICS = {"v3/pile/loss": 3.0, "v3/mean/loss": 3.0, "downstream/copa/accuracy": 0.9, "downstream/mean/accuracy": 0.9}
SETS, TASKS = "first 200 documents a set", "first 200 documents a task"


def facts(report):
    return dict(report.facts + report.made_by)


@pytest.fixture
def odd(sweep, losses, finished):
    """A function: the report of four rows, the record or the result of whose last differs in this."""

    def make(where, value, **result):
        record = deepcopy(finished("x", 0, 1.0).result["record"])
        room, _, key = where.partition("_")
        if key:
            record[room][key] = value
        else:
            record[room] = value
        last = finished("DHC×4", 0, 3.8, record=record, **result)
        return build(sweep(seeds=(0,)), [*losses(VALUES)[:-1], last], "tiny")

    return make


def test_facts_of_the_runs(sweep, losses, odd):
    found = facts(build(sweep(seeds=(0,)), losses(VALUES), "tiny"))
    assert found["scale"] == "tiny" and found["tokens"] == "6,400" and found["steps"] == "100"
    assert found["hardware"] == "a processor, 2 cores" and found["git"] == "a" * 12 + " on main"
    assert found["versions"] == "python 3.11.4, torch 2.13.0" and found["evaluated on"] == "corpus"
    assert facts(odd("hardware_gpus", ["H200"] * 8))["hardware"].endswith(" · 8 × H200")


def test_the_learning_rate_is_told_in_steps_of_warm_up(sweep, losses, configuration):
    for knobs, text in (
        (("steps=1234",), "123 steps of warm-up, cosine to 10 %"),
        (("steps=1234", "schedule=constant", "schedule.warmup=1000"), "1,000 steps of warm-up, constant"),
    ):
        outcomes = losses(VALUES, config=configuration(*knobs))
        assert facts(build(sweep(seeds=(0,)), outcomes, "tiny"))["learning rate"] == f"0.003, {text}"


@pytest.mark.parametrize(
    ("where", "value", "text"),
    [
        ("code", "d" * 64, "different code"),
        ("hardware_gpus", ["H200"] * 8, "different hardware"),
        ("versions_torch", "2.6.0", "different versions"),
    ],
)
def test_a_row_of_other_code_or_hardware_is_named(odd, where, value, text):
    (warning,) = odd(where, value).warnings
    assert text in warning and "DHC×4, seed 0" in warning and "OLMo-1B" not in warning


def test_what_is_no_difference_gives_no_warning(sweep, losses, odd):
    assert build(sweep(seeds=(0,)), losses(VALUES), "tiny").warnings == ()
    assert odd("hardware_memory", 2).warnings == (), "it varies from boot to boot"


def test_another_length_and_a_dirty_checkout_are_said(odd):
    warnings = "\n".join(odd("git_dirty", True, tokens=100).warnings)
    assert "different numbers of tokens" in warnings and "in no commit" in warnings


def test_runs_without_a_record_are_reported_without_it(sweep, losses):
    outcomes = losses(VALUES)
    for outcome in outcomes:
        outcome.result.clear()
    report = build(sweep(seeds=(0,)), outcomes, "tiny")
    assert set(facts(report)) == {"scale", "evaluated on", "seeds"} and report.warnings == ()


def test_tuned_values_are_named_and_what_was_given_instead(sweep, finished, tmp_path):
    def config(lr):
        return {"optimizer": {"lr": lr}, "choices": {"schedule": "linear"}, "trainer": {"precision": "32-true"}}

    rows = {"a": {"optimizer.lr": 0.002, "schedule": "linear"}, "b": {"optimizer.lr": 0.001, "schedule": "linear"}}
    plain = sweep(["a", "b"], (0, 1), None)
    runs = [finished("a", seed, 2.0, config=config(0.002)) for seed in (0, 1)]
    runs.append(finished("b", 0, 2.0, config=config(0.5)))
    assert "tuned values" not in facts(build(plain, runs, "tiny"))
    tuned = replace(plain, tuning=Tuning(tmp_path / "tuned.yaml", "tune", 12, rows))
    assert facts(build(tuned, runs, "tiny"))["tuned values"] == (
        f"search tune, 12 trials a row, from {tmp_path / 'tuned.yaml'}; a: optimizer.lr 0.002, schedule linear; "
        "b: optimizer.lr 0.5 (given; tuned 0.001), schedule linear"
    )


@pytest.mark.parametrize(
    ("knobs", "sets", "tasks"),
    [
        ((), "", ""),
        (("evaluation.documents=200",), SETS, TASKS),
        (("evaluation.documents=200", "downstream.documents=null"), SETS, ""),
        (("evaluation.max_tokens=5000",), "first 5,000 tokens a set", ""),
    ],
)
def test_what_was_read_is_that_of_the_recorded_configuration(evaluated, knobs, sets, tasks):
    outcome = evaluated(METRICS, *knobs)[1][0]
    assert (look(outcome, "v3"), look(outcome, "downstream")) == (sets, tasks)


def test_a_quick_look_is_marked_wherever_its_scores_are(evaluated):
    report = build(*evaluated(METRICS, "evaluation.documents=200"), "tiny")
    text, page = markdown(report), html(report)
    for made in (text, page):
        assert f"Measured, V3 suite ({SETS})" in made or f"| V3 loss ({SETS}) | Δ V3 loss ({SETS}) |" in made
        assert f"downstream accuracy % ({TASKS})" in made
        assert f"V3 loss of each set, beside Table 18 of the paper ({SETS})" in made
        assert f"accuracy % of each task, beside Table 15 of the paper ({TASKS})" in made
    assert facts(report)["evaluated on"] == f"V3 ({SETS}), downstream ({TASKS})"
    assert f"A quick look: V3: {SETS}; downstream: {TASKS}." in said(report)
    assert f"V3 suite ({SETS})" in text and f"V3 suite ({SETS})" in shown(report)
    whole = build(*evaluated(METRICS), "tiny")
    assert not any(
        "first 200" in made or "quick look:" in made for made in (markdown(whole), html(whole), shown(whole))
    )


def test_rows_that_read_different_amounts_are_named(evaluated):
    sweep, outcomes = evaluated(METRICS)
    quick = evaluated(METRICS, "evaluation.documents=200")[1]
    report = build(sweep, [*outcomes[:-1], quick[-1]], "tiny")
    assert report.results.looks["v3"] == f"whole · {SETS}"
    warned = [warning for warning in report.warnings if "different amounts" in warning]
    assert len(warned) == 2 and all("mHC×4, seed 1" in each and "OLMo-1B" not in each for each in warned)
