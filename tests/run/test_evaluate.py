from functools import cache

import pytest
from omegaconf import OmegaConf

from hcexp.configuration import compose
from hcexp.run.evaluate import ModelData, data_of, prepared, reconfigured


@pytest.fixture
def recorded(minute):
    """What a minute run with more overrides writes down."""

    @cache
    def record(*overrides):
        return OmegaConf.create(OmegaConf.to_container(compose([*minute, *overrides]), resolve=True))

    return record


def test_only_how_a_run_is_measured_changes_and_by_default_the_accelerator_alone(recorded):
    before = recorded("downstream.tasks=[copa]", "downstream.documents=3")
    after = reconfigured(before, [])
    assert (before.trainer.accelerator, after.trainer.accelerator) == ("cpu", "auto")
    after.trainer.accelerator = "cpu"
    assert after == before
    knobs = ["evaluation.batch_size=3", "trainer.precision=bf16-mixed", "paths.cache=elsewhere"]
    after = reconfigured(recorded(), [*knobs, "trainer.accelerator=gpu"])
    assert after.evaluation == {**recorded().evaluation, "batch_size": 3}
    assert after.downstream.batch_size == 3, "it follows by default"
    assert (after.trainer.precision, after.paths.cache, after.trainer.accelerator) == ("bf16-mixed", "elsewhere", "gpu")
    assert after.paths.runs == recorded().paths.runs
    for override in ("model.d=8", "model=1b", "~callbacks.progress", "+a=b", "data.files=x", "compile=true", "seed=1"):
        with pytest.raises(ValueError, match=r"has no place here, where a trained model is measured: allowed are eval"):
            reconfigured(recorded(), [override])


def test_a_group_chosen_anew_starts_from_its_file(recorded):
    after = reconfigured(recorded(), ["evaluation=corpus", "evaluation.every=2"])
    assert after.evaluation == {**compose().evaluation, "every": 2}
    assert (after.choices.evaluation, after.choices.downstream) == ("corpus", "none")
    assert after.model == recorded().model


def test_the_budget_of_the_tasks_follows_that_of_the_sets_unless_it_had_its_own(recorded):
    for had, asked, documents in (
        ([], "evaluation.documents=5", 5),
        (["evaluation.documents=9"], "evaluation.documents=null", None),
        (["downstream.documents=9"], "evaluation.documents=5", 9),
        (["evaluation.documents=9"], "downstream=paper", 9),
    ):
        assert reconfigured(recorded(*had), [asked]).downstream.documents == documents


def test_runs_that_are_measured_alike_share_what_they_are_measured_on(recorded):
    configs = [recorded(), recorded("residual=dhc"), recorded("evaluation.max_tokens=50")]
    first, second, third = prepared(configs, [])
    assert first is second and [benchmark.name for benchmark in first] == ["local"]
    assert third[0].parts == first[0].parts and third[0] is not first[0]
    with pytest.raises(ValueError, match=r"^there is nothing to measure"):
        prepared(configs, ["downstream=none"])
    data = data_of(recorded("data.files=gone.txt"))
    assert isinstance(data, ModelData) and (data.sequence_length, data.verify) == (32, True), "texts may be gone"
