"""Tasks of lm-evaluation-harness, run on any network."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from hcexp.data import TextTokenizer

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

FEW_SHOT_SEED = 1234  # the harness's own default, with which published scores are made


def harness_scores(
    model: nn.Module,
    tokenizer: TextTokenizer,
    tasks: Sequence[str],
    *,
    sequence_length: int,
    batch_size: int = 16,
    documents: int | None = None,
    shots: int | None = None,
    folder: Path | None = None,
) -> dict[str, float]:
    """Scores called `harness/<task>/<metric>`; behind a filter, `harness/<task>/<metric>/<filter>`.

    Args:
        model: maps tokens (batch, seq) to logits (batch, seq, vocabulary).
        tasks: names of tasks, groups and tags, or YAML files of tasks.
        sequence_length: tokens that the model reads at once.
        batch_size: texts a batch.
        documents: documents a task, from its beginning, for a quick look; None for all.
        shots: examples before each question; None for the task's own number.
        folder: with YAML files of further tasks.

    Raises ValueError if `lm_eval` is not installed, or has no such task, or that asks for what the model does not do.
    """
    for name, (value, least) in {"documents": (documents, 1), "shots": (shots, 0)}.items():
        if value is not None and value < least:
            raise ValueError(f"{name}={value}: allowed is at least {least}")
    manager = require_tasks(tasks, folder)
    from lm_eval import evaluate

    from hcexp.evaluation.harness.model import HarnessModel

    loaded = manager.load(list(tasks))
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if own is None or (shots is not None and own != 0):  # a task without examples says 0
            task.set_config(key="num_fewshot", value=shots or 0)
        task.set_fewshot_seed(seed=FEW_SHOT_SEED)
    found = evaluate(
        HarnessModel(model, tokenizer, sequence_length=sequence_length, batch_size=batch_size),
        loaded,
        limit=documents,
        bootstrap_iters=0,  # no standard errors: the harness would start processes for them
        log_samples=False,
    )
    return {
        f"harness/{task}/{_name(key)}": float(value)
        for task, row in found["results"].items()
        for key, value in row.items()
        if "," in key and isinstance(value, Real)
    }


def require_tasks(tasks: Sequence[str], folder: Path | None = None) -> "TaskManager":
    """What reads these tasks; raises ValueError, in one line, unless `lm_eval` is installed and has all of them."""
    if find_spec("lm_eval") is None:
        raise ValueError("harness needs lm_eval, which is not installed: pip install 'hcexp[eval]'")
    if folder is not None and not folder.is_dir():
        raise ValueError(f"harness_folder={folder}: there is no such folder")
    # Reading the list of the harness's own tasks takes many seconds: only where one is meant.
    manager = _manager(folder, include_defaults=False)
    if not all(name in manager.all_tasks or Path(name).is_file() for name in tasks):
        manager = _manager(folder, include_defaults=True)
    if unknown := [name for name in tasks if not (name in manager.all_tasks or Path(name).is_file())]:
        near = get_close_matches(unknown[0], manager.all_tasks, n=3, cutoff=0.5)
        hint = f", did you mean {' or '.join(near)}" if near else ""
        raise ValueError(f"lm_eval has no task {unknown[0]!r}{hint}")
    return manager


@cache
def _manager(folder: Path | None, include_defaults: bool) -> "TaskManager":
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder, include_defaults=include_defaults)


def _name(key: str) -> str:
    metric, _, filter_ = key.partition(",")
    return metric if filter_ == "none" else f"{metric}/{filter_}"
