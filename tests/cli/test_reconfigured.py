import pytest
from omegaconf import OmegaConf

from hcexp.cli.reconfigured import reconfigured
from hcexp.configuration import compose


@pytest.fixture
def recorded(minute):
    """What a minute run with more overrides writes down."""

    def record(*overrides):
        return OmegaConf.create(OmegaConf.to_container(compose([*minute, *overrides]), resolve=True))

    return record


def test_without_overrides_all_is_as_it_was_recorded_but_the_accelerator(recorded):
    before = recorded("downstream.tasks=[copa]", "downstream.documents=3")
    assert before.trainer.accelerator == "cpu"
    after = reconfigured(before, [])
    assert after.trainer.accelerator == "auto"
    after.trainer.accelerator = "cpu"
    assert after == before


def test_a_knob_changes_and_the_others_stay(recorded):
    after = reconfigured(recorded(), ["evaluation.batch_size=3"])
    assert after.evaluation == {**recorded().evaluation, "batch_size": 3}
    assert after.downstream.batch_size == 3  # follows it by default


def test_a_group_chosen_anew_starts_from_its_file(recorded):
    after = reconfigured(recorded(), ["evaluation=embedded", "evaluation.every=2"])
    assert after.evaluation == {**compose().evaluation, "every": 2}
    assert (after.choices.evaluation, after.choices.downstream) == ("embedded", "none")
    assert after.model == recorded().model


def test_the_budget_of_the_tasks_follows_that_of_the_sets_unless_it_had_its_own(recorded):
    assert reconfigured(recorded(), ["evaluation.documents=5"]).downstream.documents == 5
    assert reconfigured(recorded("evaluation.documents=9"), ["evaluation.documents=null"]).downstream.documents is None
    assert reconfigured(recorded("downstream.documents=9"), ["evaluation.documents=5"]).downstream.documents == 9
    assert reconfigured(recorded("evaluation.documents=9"), ["downstream=paper"]).downstream.documents == 9


def test_the_knobs_of_the_place_may_change(recorded):
    after = reconfigured(
        recorded(), ["trainer.precision=bf16-mixed", "paths.cache=elsewhere", "trainer.accelerator=gpu"]
    )
    assert (after.trainer.precision, after.paths.cache) == ("bf16-mixed", "elsewhere")
    assert after.trainer.accelerator == "gpu" and after.paths.runs == recorded().paths.runs


@pytest.mark.parametrize(
    "override", ["model.d=8", "model=1b", "~callbacks.progress", "+a=b", "data.files=x", "compile=true"]
)
def test_the_network_and_its_training_may_not(recorded, override):
    with pytest.raises(
        ValueError, match=r"has no place here, where a trained model is measured: allowed are evaluation…"
    ):
        reconfigured(recorded(), [override])
