"""The scores of a run's checkpoints, kept in its folder, so that nothing is measured twice."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hcexp.disk.atomic import write_json
from hcexp.disk.checksum import checksum
from hcexp.run.folder import EVALUATIONS

if TYPE_CHECKING:  # whoever reads scores does without torch
    from torch import nn

    from hcexp.evaluation.benchmark import Benchmark, Watch


class Evaluation(NamedTuple):
    """A benchmark that one checkpoint was measured on as a whole."""

    name: str  # of the benchmark; it begins the names of its metrics
    step: int  # optimiser steps of the checkpoint
    conditions: dict[str, Any]  # see `conditions`
    metrics: dict[str, float]  # by their full names
    tracked: bool = False  # whether the tracking store has them


def conditions(config: Mapping[str, Any], benchmark: str) -> dict[str, Any]:
    """Under what a benchmark is measured by a configuration: scores under different conditions are never mixed.

    `documents` and, of validation sets, `max_tokens` say how much of each set or task is read, None for all.
    """
    section = config.get("downstream" if benchmark == "downstream" else "evaluation") or {}
    return {
        "documents": section.get("documents"),
        "max_tokens": None if benchmark.startswith("harness/") else section.get("max_tokens"),
        "precision": config["trainer"]["precision"],
    }


def evaluations(run: Path) -> list[Evaluation]:
    """Every benchmark that a checkpoint of the run was measured on, the oldest measurement first."""
    files = sorted((run / EVALUATIONS).glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [Evaluation(**json.loads(path.read_text())) for path in files]


def final_metrics(run: Path, result: Mapping[str, Any]) -> dict[str, float]:
    """What a run, by its folder and result, ended with, and what its last checkpoint was measured on since.

    Of a suite, or of the downstream tasks, the newest measurement takes the place of all that there was before, so that
    a mean never has sets or tasks of two measurements. What was measured under other conditions than the run's own,
    such as a quick look at a few documents, is left out.
    """
    metrics = dict(result.get("metrics", {}))
    for evaluation in evaluations(run):
        own = conditions(result["config"], evaluation.name)
        if (evaluation.step, evaluation.conditions) == (result.get("steps"), own):
            before = {name: v for name, v in metrics.items() if not name.startswith(f"{evaluation.name}/")}
            metrics = before | evaluation.metrics
    return metrics


class ScoreCache:
    """The scores of one checkpoint: `evaluations/parts/<fingerprint>.json` in the run's folder for a set or task, and
    `evaluations/<benchmark>-<fingerprint>.json` for a benchmark as a whole, each written at once or not at all.

    Args:
        run: the run's folder.
        step: the optimiser steps of the checkpoint.
        model: fingerprint of all that makes the model answer as it does: weights, tokenizer, length, precision.
    """

    def __init__(self, run: Path, step: int, model: str):
        self.folder, self.step, self.model = run / EVALUATIONS, step, model

    def has(self, benchmark: "Benchmark", part: str) -> bool:
        """Whether the part was measured before."""
        return self._part(benchmark, part).is_file()

    def score(
        self, model: "nn.Module | None", benchmark: "Benchmark", part: str, *, watch: "Watch" = iter
    ) -> dict[str, float]:
        """The scores of one part, measured unless they are kept."""
        path = self._part(benchmark, part)
        if not path.is_file():
            write_json(path, dict(benchmark.score(model, part, watch=watch)))
        return json.loads(path.read_text())

    def whole(self, benchmark: "Benchmark", under: dict[str, Any]) -> Evaluation:
        """The benchmark as a whole, all parts of which are kept."""
        path = self._whole(benchmark)
        if path.is_file():
            return Evaluation(**json.loads(path.read_text()))
        scored = {part: json.loads(self._part(benchmark, part).read_text()) for part in benchmark.parts}
        return Evaluation(benchmark.name, self.step, under, benchmark.metrics(scored))

    def keep(self, benchmark: "Benchmark", evaluation: Evaluation) -> None:
        """Write it down, as the newest."""
        write_json(self._whole(benchmark), evaluation._asdict())

    def _part(self, benchmark: "Benchmark", part: str) -> Path:
        return self.folder / "parts" / f"{self._fingerprint(benchmark, part)}.json"

    def _whole(self, benchmark: "Benchmark") -> Path:
        parts = [self._fingerprint(benchmark, part) for part in benchmark.parts]
        return self.folder / f"{benchmark.name.replace('/', '-')}-{checksum(benchmark.name, parts)[:16]}.json"

    def _fingerprint(self, benchmark: "Benchmark", part: str) -> str:
        return checksum(self.model, self.step, benchmark.name, part, benchmark.fingerprint_of(part))[:32]
