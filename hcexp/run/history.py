"""What a run recorded while it trained."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from hcexp.callbacks.curves import average_name
from hcexp.run.folder import RunFolder, made_in
from hcexp.run.scores import conditions, evaluations
from hcexp.tracking import store_uri


class Point(NamedTuple):
    """A point of a curve that was recorded while the run trained, after so many optimiser steps and tokens."""

    metric: str
    step: int
    tokens: int
    value: float


def curves(run: Path, config: DictConfig, parts: Iterable[str], layers: Iterable[str]) -> list[Point]:
    """The curves that a run, by its folder and configuration, recorded; of what it did not record, the last value.

    `parts` are the sets and tasks that it evaluates, with the name of their suite before them, `v2/pile`; `layers`
    those whose gradient norms are asked for. Raises ValueError if the file of its metrics is damaged.
    """
    training = ["train/loss", average_name(config.callbacks.curves.ema), "train/spikes"]
    training += [f"train/grad_norm/{layer}" for layer in layers]
    final = _final(run)
    evaluated = list(dict.fromkeys([*map(_measure, parts), *final]))
    per_step = config.data.batch_size * config.data.get("sequence_length", 1)
    points, recorded = [], RunFolder(run).curves
    for metric in (*training, *evaluated):
        curve = recorded.get(metric) or ([final[metric]] if metric in final else [])
        points += [Point(metric, step, step * per_step, value) for step, value in curve]
    return points


def store_of(run: Path, config: DictConfig) -> str:
    """The tracking store that the run was recorded in."""
    return store_uri(config.tracking.get("uri"), made_in(run.resolve()))


def _measure(part: str) -> str:
    return f"{part}/accuracy" if part.startswith("downstream/") else f"{part}/loss"


def _final(run: Path) -> dict[str, tuple[int, float]]:
    """Losses of sets and accuracies of tasks at the end, or when they were measured afterwards, with their step."""
    result = RunFolder(run).result
    if result.get("state") != "finished":
        return {}
    found = {name: (result["steps"], value) for name, value in result["metrics"].items()}
    for evaluation in evaluations(run):
        if evaluation.conditions == conditions(result["config"], evaluation.name):
            found |= {name: (evaluation.step, value) for name, value in evaluation.metrics.items()}
    return {
        name: at
        for name, at in found.items()
        if name.partition("/")[0] != "train" and name == _measure(name.rpartition("/")[0])
    }
