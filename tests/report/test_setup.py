from copy import deepcopy

from hcexp.report import build

VALUES = {"OLMo-1B": [4.0], "DHC×1": [4.1], "DHC×2": [3.9], "DHC×4": [3.8]}


def record(finished, **changes):
    made = deepcopy(finished("x", 0, 1.0).result["record"])
    for path, value in changes.items():
        room, _, key = path.partition("_")
        if key:
            made[room][key] = value
        else:
            made[room] = value
    return made


def test_facts_of_the_runs(sweep, losses):
    facts = dict(build(sweep(seeds=(0,)), losses(VALUES), "tiny").setup)
    assert facts["scale"] == "tiny" and facts["tokens"] == "6,400" and facts["steps"] == "100"
    assert facts["hardware"] == "a processor, 2 cores" and facts["git"] == "a" * 12 + " on main"
    assert facts["versions"] == "python 3.11.4, torch 2.13.0" and facts["evaluated on"] == "corpus"


def test_the_learning_rate_is_told_in_steps_of_warm_up(sweep, losses, configuration):
    """Whether they are a share of the steps or given."""
    for knobs, said in (
        (("steps=1234",), "123 steps of warm-up, cosine to 10 %"),
        (
            ("steps=1234", "schedule=constant", "schedule.warmup=1000"),
            "1,000 steps of warm-up, constant",
        ),
    ):
        outcomes = losses(VALUES, config=configuration(*knobs))
        assert dict(build(sweep(seeds=(0,)), outcomes, "tiny").setup)["learning rate"] == f"0.003, {said}"


def test_same_runs_give_no_warning(sweep, losses):
    assert build(sweep(seeds=(0,)), losses(VALUES), "tiny").warnings == ()


def test_a_row_of_other_code_or_hardware_is_named(sweep, losses, finished):
    for changes, said in (
        ({"code": "d" * 64}, "different code"),
        ({"hardware_gpus": ["H200"] * 8}, "different hardware"),
        ({"versions_torch": "2.6.0"}, "different versions"),
    ):
        odd = finished("DHC×4", 0, 3.8, record=record(finished, **changes))
        warnings = build(sweep(seeds=(0,)), [*losses(VALUES)[:-1], odd], "tiny").warnings
        assert len(warnings) == 1
        assert said in warnings[0] and "DHC×4, seed 0" in warnings[0] and "OLMo-1B" not in warnings[0]


def test_other_memory_of_the_same_machine_is_not_other_hardware(sweep, losses, finished):
    odd = finished("DHC×4", 0, 3.8, record=record(finished, hardware_memory=2))
    assert build(sweep(seeds=(0,)), [*losses(VALUES)[:-1], odd], "tiny").warnings == ()


def test_another_length_and_a_dirty_checkout_are_said(sweep, losses, finished):
    odd = finished("DHC×4", 0, 3.8, record=record(finished, git_dirty=True), tokens=100)
    warnings = "\n".join(build(sweep(seeds=(0,)), [*losses(VALUES)[:-1], odd], "tiny").warnings)
    assert "different numbers of tokens" in warnings and "in no commit" in warnings


def test_gpus_are_counted(sweep, finished):
    odd = finished("OLMo-1B", 0, 3.8, record=record(finished, hardware_gpus=["H200"] * 8))
    assert dict(build(sweep(seeds=(0,)), [odd], "1b").setup)["hardware"] == "8 × H200"


def test_runs_without_a_record_are_reported_without_it(sweep, losses):
    outcomes = losses(VALUES)
    for outcome in outcomes:
        outcome.result.clear()
    report = build(sweep(seeds=(0,)), outcomes, "tiny")
    assert set(dict(report.setup)) == {"scale", "evaluated on", "seeds"} and report.warnings == ()
