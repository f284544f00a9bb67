import shutil

import pytest

from hcexp.evaluation.harness.task import HarnessTask
from tests.evaluation.harness.examples import EXAMPLES, Known, text


@pytest.fixture
def make(tasks, data):
    def make(name, folder=tasks, **options):
        task = HarnessTask(name, folder, **options)
        task.prepare(data(64))
        return task

    return make


def test_its_metrics_are_those_of_the_harness_and_a_file_is_named_by_its_stem(make, tasks, tokenizer):
    model = Known(tokenizer, [text(example) for example in EXAMPLES])
    for named in ("choices", str(tasks / "choices.yaml")):
        task = make(named)
        (part,), (meter,) = task.parts, task.meters()
        scored = task.score(model, part)
        assert (task.name, part, scored["harness/choices/acc"]) == ("harness/choices", named, 1)
        assert task.metrics({part: scored}) == scored
        assert meter.varying_shapes and len(task.loaders(1, 2)[0]) == 1  # every process scores the whole task


def test_the_fingerprint_knows_the_definition_and_the_budget(make, tasks, tmp_path):
    shutil.copy(tasks / "choices.yaml", tmp_path)
    before = {make("choices", tmp_path, documents=of).fingerprint_of("choices") for of in (None, 2)}
    assert len(before) == 2 and make("choices", tmp_path).fingerprint in before
    path = tmp_path / "choices.yaml"
    path.write_text(path.read_text() + "\n# another\n")
    assert make("choices", tmp_path).fingerprint_of("choices") not in before
    with pytest.raises(ValueError, match="harness_folder=.*none: there is no such folder"):
        make("choices", tmp_path / "none")
