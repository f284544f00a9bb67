"""A run's folder, and what the files in it tell; nothing is composed, and no checkpoint is read."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from hcexp.callbacks.checkpoint_folder import CHECKPOINTS, by_step
from hcexp.configuration import shipped
from hcexp.run.identity import hashed
from hcexp.tracking.metrics import METRICS, read, tail

# What lies in a run's folder, beside the metrics and the lock.
CONFIG = "config.yaml"  # the resolved configuration
IDENTITY = "identity.json"  # what the folder's name is the hash of
ATTEMPTS = "attempts.json"
RESULT = "result.json"  # written last: the only proof of success
LOG = "log.txt"  # of the process, where a sweep has started it
EVALUATIONS = "evaluations"
ANALYSIS = "analysis"

STALE = "stale"  # among the runs: where `hcexp sweep --rerun-stale` sets them aside
SET_ASIDE = re.compile(r".+-\d+")  # the name that they have there
ENDED = ("finished", "pruned")
STATES = (*ENDED, "failed")  # of a result
KNOBS = {"choices": Mapping, "residual": Mapping, "seed": int, "steps": int}  # that every configuration has


class RunFolder:
    """The folder of a run, which alone knows what is called how in there.

    Each file is read when it is asked for, and once: whoever waits for another result makes another one. Raises
    ValueError, in one line that says what to do, for a file that is damaged.
    """

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, as plain mappings; raises FileNotFoundError where there is none."""
        if not (self.path / CONFIG).is_file():
            raise FileNotFoundError(f"{self.path} is not the folder of a run: it has no {CONFIG}")
        advice = "restore it, or delete the folder"
        try:
            config = yaml.load((self.path / CONFIG).read_text(encoding="utf-8"), _loader())
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self._damaged(CONFIG, " ".join(str(error).split()), advice) from None
        for knob, kind in KNOBS.items():
            if not isinstance(config, Mapping) or not isinstance(config.get(knob), kind):
                raise self._damaged(CONFIG, f"it has no {knob} of a run", advice)
        return dict(config)

    @property
    def configuration(self) -> DictConfig:
        """A copy of `config` as OmegaConf has it; raises ValueError if it names a class that nobody has trusted."""
        from hcexp.configuration import require_trusted  # Hydra, which a list of runs does without

        config = OmegaConf.create(self.config)
        require_trusted(config, f"{self.path / CONFIG}: ")
        return config

    @cached_property
    def result(self) -> dict[str, Any]:
        """What the run left; {} before there is anything."""
        advice = "delete it, and the run goes on"
        result = self._json(RESULT, dict, advice)
        if result and result.get("state") not in STATES:
            raise self._damaged(RESULT, f"its state is {result.get('state')}", advice)
        return result

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """The attempts that have part in the result so far, the first one first."""
        advice = "restore it, or delete it, and the result lists the attempts from now on"
        attempts = self._json(ATTEMPTS, list, advice)
        if not all(isinstance(one, dict) and {"step", "code", "overrides"} <= one.keys() for one in attempts):
            raise self._damaged(ATTEMPTS, "it lists no attempts", advice)
        return attempts

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the folder's name is the hash of; {} where nobody has written it down."""
        return self._json(IDENTITY, dict, "delete it, and the run goes on")

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.result.get("state") == "finished"

    @cached_property
    def state(self) -> str:
        """finished, pruned or failed, as the result says; or running, or stopped: the same command goes on."""
        if self.result.get("state") in ENDED:
            return self.result["state"]
        from hcexp.run.lock import is_held

        return "running" if is_held(self.path) else self.result.get("state", "stopped")

    @property
    def mode(self) -> str:
        """The residual mode in words."""
        return mode(self.config)

    @property
    def checkpoints(self) -> list[tuple[int, Path]]:
        """The checkpoints by their names, whole or not, each with its optimiser step: the newest last."""
        return by_step(self.path / CHECKPOINTS)

    @cached_property
    def step(self) -> int:
        """Optimiser steps done: all of a finished run, else those in the curves or in the newest checkpoint."""
        if self.state in ENDED:
            return self.result["steps"]
        return max((step for step, _ in (*self.checkpoints, *self._newest("train/loss"))), default=0)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Those that the run ended with, and those that `hcexp evaluate` added."""
        from hcexp.run.scores import final_metrics

        return final_metrics(self.path, self.result) if self.result.get("state") in ENDED else {}

    @cached_property
    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Every metric that was recorded while the run trained, as (step, value) in the order of steps."""
        return read(self.path / METRICS)

    @cached_property
    def loss(self) -> tuple[str, float] | None:
        """What was measured last: a suite, the run's own if it can be, and its mean; or `train` and its loss."""
        means = [name.removesuffix("/mean/loss") for name in self.metrics if name.endswith("/mean/loss")]
        if means:
            own = (self.config.get("evaluation") or {}).get("suite")
            suite = own if own in means else min(means)
            return suite, self.metrics[f"{suite}/mean/loss"]
        return next((("train", value) for _, value in self._newest("train/loss")), None)

    @cached_property
    def tokens_per_second(self) -> float | None:
        for name in ("perf/tokens_per_second", "perf/samples_per_second"):
            for speed in (self.metrics.get(name), *(value for _, value in self._newest(name))):
                if speed:
                    return speed
        return None

    @cached_property
    def run_id(self) -> str:
        """Of the run in MLflow; empty if it was not tracked."""
        from hcexp.tracking.outbox import run_id

        return run_id(self.path)

    @property
    def code(self) -> str:
        """The hash of the code that the run ended with, or was last begun with; empty if it has none."""
        if self.result:
            return self.result.get("record", {}).get("code", "")
        return self.attempts[-1]["code"] if self.attempts else ""

    @property
    def log(self) -> Path:
        """What the run's process printed, where a sweep has started it; it may not be there."""
        return self.path / LOG

    @cached_property
    def damage(self) -> str | None:
        """Why a list cannot show the run, in one line; None if it can."""
        try:
            _ = self.mode, self.state, self.step, self.loss, self.tokens_per_second, self.config["choices"]["scale"]
        except ValueError as error:
            return str(error)
        except (LookupError, TypeError, AttributeError, OSError) as error:
            return f"{self.path} is damaged ({type(error).__name__}: {error}): restore it, or delete it"
        return None

    def _newest(self, metric: str) -> list[tuple[int, float]]:
        """The last point of a curve, if there is one among the last that were recorded."""
        return [(line.step, line.metrics[metric]) for line in tail(self.path / METRICS) if metric in line.metrics][-1:]

    def _json(self, name: str, kind: type, advice: str) -> Any:
        """A file that holds an object or a list; an empty one where there is no file."""
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return kind()
        except (ValueError, RecursionError) as error:
            raise self._damaged(name, str(error), advice) from None
        if not isinstance(content, kind):
            raise self._damaged(name, f"it holds {type(content).__name__}, not {kind.__name__}", advice)
        return content

    def _damaged(self, name: str, why: str, advice: str) -> ValueError:
        return ValueError(f"{self.path / name} is damaged ({why}): {advice}")


def recorded_as(runs: Path, config: Mapping[str, Any]) -> list[str]:
    """The names of the runs in a folder that have recorded this configuration, see `effective`, with whatever data."""
    found = []
    for path in runs.glob(f"*/{IDENTITY}"):
        with suppress(ValueError, LookupError, TypeError):  # damaged: a list of runs says so
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["config"] == config and hashed(content) == path.parent.name:
                found.append(path.parent.name)
    return found


def find_run(word: str | Path, runs: Path) -> RunFolder:
    """The run that `word` names: a run's folder, or how the name of one in `runs` begins.

    Raises FileNotFoundError where there is none, and ValueError where there are several.
    """
    if (Path(word) / CONFIG).is_file():
        return RunFolder(Path(word))
    found = [run for run in run_folders(runs) if run.path.name.startswith(str(word))]
    if len(found) > 1:
        raise ValueError(f"{word} is the beginning of {', '.join(run.path.name for run in found)}: write more of it")
    if not found:
        raise FileNotFoundError(f"{word} is neither the folder of a run nor the beginning of one's name in {runs}")
    return found[0]


def run_folders(runs: Path) -> Iterator[RunFolder]:
    """Every run in a folder, the one that was begun last at the end."""
    folders = [path.parent for path in runs.glob(f"*/{CONFIG}")]
    yield from map(RunFolder, sorted(folders, key=lambda folder: (folder / CONFIG).stat().st_mtime))


def mode(config: Mapping[str, Any]) -> str:
    """The residual mode of a configuration, with its expansion rate and those knobs that are not its own defaults."""
    name, defaults = config["choices"]["residual"], _defaults(config["choices"]["residual"])
    said = {key: value for key, value in config["residual"].items() if not key.startswith("_")}
    said = {key: value for key, value in said.items() if key == "n" or value != defaults.get(key)}
    words = {key: str(value).lower() if isinstance(value, bool) else value for key, value in said.items()}
    return " ".join([name, *(f"{key}={word}" for key, word in words.items())])


def made_in(run: Path) -> Path:
    """The folder that a run, by its absolute path, was made in, and its store with it; it may be set aside since."""
    aside = SET_ASIDE.fullmatch(run.name) and run.parent.name == STALE
    return run.parent.parent if aside else run.parent


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


@cache
def _loader() -> type:
    """OmegaConf's way of reading YAML, `1e-3` being a number, with libyaml's parser, which is eight times as fast."""
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return type("Loader", (fast,), {"yaml_implicit_resolvers": get_yaml_loader().yaml_implicit_resolvers})


@cache
def _defaults(residual: str) -> dict[str, Any]:
    path = shipped("conf") / "residual" / f"{residual}.yaml"
    return yaml.safe_load(path.read_text()) if Path(residual).name == residual and path.is_file() else {}
