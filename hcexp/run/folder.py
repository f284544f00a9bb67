"""Runs as the files in their folders tell of them; nothing is composed and nothing is trained."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from hcexp.configuration import shipped
from hcexp.evaluation import SUITES
from hcexp.run.scores import final_metrics
from hcexp.tracking.metrics import METRICS, tail

STALE = "stale"  # among the runs: where `hcexp sweep --rerun-stale` sets them aside
SET_ASIDE = re.compile(r".+-\d+")  # the name of a run that `hcexp sweep --rerun-stale` has set aside


@dataclass(frozen=True)
class RunFolder:
    """A run's folder: `config` is resolved, `result` its result file, or {} before there is one."""

    path: Path
    config: dict[str, Any]
    result: dict[str, Any]

    @cached_property
    def state(self) -> str:
        """finished, pruned or failed, as the result says; or running, or stopped: the same command goes on."""
        if self.result.get("state") in ("finished", "pruned"):
            return self.result["state"]
        from hcexp.run.lock import is_held  # Lightning: seconds that a list of finished runs can do without

        return "running" if is_held(self.path) else self.result.get("state", "stopped")

    @cached_property
    def mode(self) -> str:
        """The residual mode, with its expansion rate and those knobs that are not the mode's own defaults."""
        name, knobs = self.config["choices"]["residual"], self.config["residual"]
        path = shipped("conf") / "residual" / f"{name}.yaml"
        defaults = yaml.safe_load(path.read_text()) if path.is_file() else {}
        said = {key: value for key, value in knobs.items() if not key.startswith("_")}
        said = {key: value for key, value in said.items() if key == "n" or value != defaults.get(key)}
        return " ".join([name, *(f"{key}={_text(value)}" for key, value in said.items())])

    @cached_property
    def step(self) -> int:
        """Optimiser steps done: all of a finished run, else those in the curves or in the newest checkpoint."""
        if self.state in ("finished", "pruned"):
            return self.result["steps"]
        from hcexp.callbacks import latest  # Lightning, likewise

        checkpoint = latest(self.path / "checkpoints")
        kept = int(checkpoint.stem.removeprefix("step=")) if checkpoint else 0
        return max([kept, *(step for step, _ in self._newest("train/loss"))])

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Those that the run ended with, and those that `hcexp evaluate` added."""
        return final_metrics(self.path, self.result) if self.result else {}

    @cached_property
    def loss(self) -> tuple[str, float] | None:
        """What was measured last, in nats a token: a suite and its mean, or `train` and the loss of training."""
        for suite in SUITES:
            if (value := self.metrics.get(f"{suite}/mean/loss")) is not None:
                return suite, value
        return next((("train", value) for _, value in self._newest("train/loss")), None)

    @cached_property
    def tokens_per_second(self) -> float | None:
        newest = (value for _, value in self._newest("perf/tokens_per_second"))
        return self.metrics.get("perf/tokens_per_second") or next(newest, None)

    def _newest(self, metric: str) -> list[tuple[int, float]]:
        """The last point of a curve, if there is one among the last that were recorded."""
        return [(line.step, line.metrics[metric]) for line in tail(self.path / METRICS) if metric in line.metrics][-1:]


def find_run(word: str, runs: Path) -> RunFolder:
    """The run that `word` names: a run's folder, or how the name of one in `runs` begins.

    Raises FileNotFoundError where there is none, and ValueError where there are several.
    """
    if (Path(word) / "config.yaml").is_file():
        return _read(Path(word))
    found = [run for run in run_folders(runs) if run.path.name.startswith(word)]
    if len(found) > 1:
        raise ValueError(f"{word} is the beginning of {', '.join(run.path.name for run in found)}: write more of it")
    if not found:
        raise FileNotFoundError(f"{word} is neither the folder of a run nor the beginning of one's name in {runs}")
    return found[0]


def run_folders(runs: Path) -> Iterator[RunFolder]:
    """Every run in a folder, the one that was begun last at the end."""
    folders = [path.parent for path in runs.glob("*/config.yaml")]
    yield from map(_read, sorted(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime))


def made_in(run: Path) -> Path:
    """The folder that a run, by its absolute path, was made in, and its store with it; it may be set aside since."""
    if not SET_ASIDE.fullmatch(run.name):
        return run.parent
    return run.parent.parent if run.parent.name == STALE else run.parent


def names(runs: Sequence[Path]) -> list[str]:
    """The names of runs' folders; if two have one name, with as much of the way there as they do not all share."""
    folders = [run.resolve() for run in runs]
    if len({folder.name for folder in folders}) == len(set(folders)):
        return [folder.name for folder in folders]
    shared = os.path.commonpath([folder.parent for folder in folders])
    return [str(folder.relative_to(shared)) for folder in folders]


def origins(runs: Sequence[Path]) -> list[str]:
    """The folders that runs lie in, with as much of the way there as tells them apart."""
    folders = [run.resolve().parent for run in runs]
    shared = Path(os.path.commonpath(folders))
    shared = shared.parent if shared in folders else shared
    return [str(folder.relative_to(shared)) for folder in folders]


def differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The names under which the mappings do not all have one value, with the value of each; None where it is absent."""
    names = dict.fromkeys(name for run in runs for name in run)
    values = {name: [run.get(name) for run in runs] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _read(path: Path) -> RunFolder:
    try:
        config = dict(yaml.safe_load((path / "config.yaml").read_text()))
    except (yaml.YAMLError, TypeError, ValueError):
        raise ValueError(f"{path / 'config.yaml'} is damaged: restore it, or delete the folder") from None
    try:
        result = json.loads((path / "result.json").read_text())
    except FileNotFoundError:
        result = {}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path / 'result.json'} is damaged ({error}): delete it, and the run goes on") from None
    return RunFolder(path, config, result)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
