"""The task files are those of test_harness.py."""

import pytest

from hcexp.evaluation.harness.task import HarnessTask
from tests.evaluation.harness.test_harness import EXAMPLES, Known, Uniform, tasks, text  # noqa: F401


@pytest.fixture
def make(tasks, tokenizer):  # noqa: F811
    def make(name, **options):
        task = HarnessTask(name, tasks, **options)
        task.prepare(tokenizer, 64)
        return task

    return make


def test_its_metrics_are_those_of_the_harness(make, tokenizer):
    model = Known(tokenizer, [text(example) for example in EXAMPLES])
    task = make("choices")
    (part,) = task.parts
    scored = task.score(model, part)
    assert task.metrics({part: scored}) == scored and scored["harness/choices/acc"] == 1
    assert (task.name, part) == ("harness/choices", "choices")


def test_a_file_is_named_by_its_stem(make, tasks):  # noqa: F811
    task = make(str(tasks / "last.yaml"))
    assert task.name == "harness/last"
    assert "harness/last/acc" in task.score(Uniform(), task.parts[0])


def test_the_fingerprint_knows_the_definition_and_the_budget(make, tasks):  # noqa: F811
    task = make("choices")
    before = {task.fingerprint_of("choices"), make("choices", documents=2).fingerprint_of("choices")}
    assert len(before) == 2 and make("choices").fingerprint_of("choices") in before
    path = tasks / "choices.yaml"
    path.write_text(path.read_text() + "\n# another\n")
    assert make("choices").fingerprint_of("choices") not in before


def test_a_folder_that_is_not_there(tokenizer, tmp_path):
    pytest.importorskip("lm_eval")
    with pytest.raises(ValueError, match="harness_folder=.*none: there is no such folder"):
        HarnessTask("choices", tmp_path / "none").prepare(tokenizer, 64)
