"""Score a checkpoint: what may differ from its run's configuration, what is kept in the folder and recorded."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.fabric import Fabric
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from hcexp.configuration import compose, instantiate, parse
from hcexp.data import TextTokenizer
from hcexp.disk.checksum import checksum
from hcexp.evaluation.benchmark import Benchmark, Watch
from hcexp.evaluation.harness.task import HarnessTask
from hcexp.run.checkpoint import Checkpoint, tokenizer_of
from hcexp.run.folder import RunFolder
from hcexp.run.history import store_of
from hcexp.run.scores import Evaluation, ScoreCache, conditions
from hcexp.tracking import add_metrics

GROUPS = ("evaluation", "downstream")
KNOBS = ("data.tokenizer", "paths.cache", "trainer.accelerator", "trainer.precision", "tracking.uri")

# The overrides that name what is to be measured; the others say how.
NAMING = {
    "evaluation": ("evaluation", "evaluation.files", "evaluation.sets"),
    "downstream": ("downstream", "downstream.tasks"),
}


class ModelData(NamedTuple):
    """What a benchmark of language asks of a data module, without the texts, which may be elsewhere by now."""

    tokenizer: TextTokenizer
    sequence_length: int
    verify: bool


class Part(NamedTuple):
    """A set or task that is done: the `number`-th of `of`, and the seconds it took; None if it was measured before."""

    number: int
    of: int
    name: str
    scores: dict[str, float]
    seconds: float | None


def data_of(config: DictConfig) -> Any:
    """What a run's benchmarks are prepared with; of a run that had no text, its data module."""
    if "tokenizer" not in config.data:
        return instantiate(config.data)
    return ModelData(tokenizer_of(config), config.data.sequence_length, config.data.verify)


def reconfigured(recorded: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A run's recorded configuration with overrides that change neither its network nor what it was trained on.

    A group that the overrides choose anew starts from `conf/`; of the other one they change single knobs. What follows
    another knob by default, as `downstream.documents` follows `evaluation.documents`, follows it here too.

    The accelerator is not the recorded one: by default a GPU if there is one.

    Raises ValueError for an override of anything else, and what `compose` raises.
    """
    given = _knobs(overrides)
    for knob, override in zip(given, overrides, strict=True):
        if knob.partition(".")[0] not in GROUPS and knob not in KNOBS:
            raise ValueError(
                f"{override} has no place here, where a trained model is measured: allowed are "
                f"{', '.join(f'{group}…' for group in GROUPS)}, {', '.join(KNOBS)}"
            )
    choices = [f"{group}={recorded.choices[group]}" for group in GROUPS if group in recorded.choices]
    before = compose(choices)
    asked = compose([*(choice for choice in choices if choice.partition("=")[0] not in given), *overrides])
    with open_dict(before), open_dict(asked):
        for group in GROUPS:
            for knob, value in recorded.get(group, {}).items():
                name = f"{group}.{knob}"
                if group in given or OmegaConf.select(before, name, throw_on_missing=False) == value:
                    continue
                before[group][knob] = value
                if not any(key == name or key.startswith(f"{name}.") for key in given):
                    asked[group][knob] = value
    config = recorded.copy()
    with open_dict(config):
        for group in GROUPS:
            config[group] = OmegaConf.to_container(asked[group], resolve=True, throw_on_missing=True)
            config.choices[group] = asked.choices[group]
        for knob in KNOBS:
            if knob in given or knob == "trainer.accelerator":
                OmegaConf.update(config, knob, OmegaConf.select(asked, knob))
    return config


def prepared(
    configs: Sequence[DictConfig], overrides: Sequence[str], tasks: Sequence[str] = (), folder: Path | None = None
) -> list[list[Benchmark]]:
    """What each run is to be measured on; runs that are measured alike share it, tokenised tasks included.

    Args:
        configs: one a run, with the overrides in them.
        overrides: only the benchmarks that they or `tasks` name are measured; without any, the runs' own.
        tasks: of lm-evaluation-harness.
        folder: with YAML files of further such tasks.

    Raises ValueError if nothing is to be measured, and what `Benchmark.prepare` raises.
    """
    given = _knobs(overrides)
    named = [group for group, knobs in NAMING.items() if any(knob in given for knob in knobs)]
    groups = named or ([] if tasks else GROUPS)
    ready: dict[str, list[Benchmark]] = {}
    found = []
    for config in configs:
        sections = (*GROUPS, "data", "paths")
        key = checksum({name: OmegaConf.to_container(config[name], resolve=True) for name in sections})
        if key not in ready:
            of = [instantiate(config[group]) for group in groups]
            limits = config.evaluation.get("documents"), config.downstream.batch_size
            of += [HarnessTask(task, folder, *limits) for task in tasks]
            ready[key], data = [benchmark for benchmark in of if benchmark.parts], data_of(config)
            for benchmark in ready[key]:
                benchmark.prepare(data, config.paths.cache)
            if not ready[key]:
                raise ValueError("there is nothing to measure: choose evaluation=…, downstream=… or --harness …")
        found.append(ready[key])
    return found


def measure(
    run: Path,
    trained: Checkpoint,
    config: DictConfig,
    benchmarks: Sequence[Benchmark],
    *,
    watch: Callable[[str], Watch] = lambda name: iter,
    done: Callable[[Part], None] = lambda part: None,
) -> list[Evaluation]:
    """Measure what is not measured yet, keep and record it; returns every benchmark as a whole, in order.

    Args:
        run: the run's folder.
        trained: its recorded configuration and the checkpoint's weights.
        config: the configuration to measure with.
        benchmarks: prepared with that configuration.
        watch: gives what goes through the batches of a set or task, by its name.
        done: called after each set and task.

    Raises ValueError for weights of another network, or a precision that there is not.
    """
    data, precision = data_of(config), config.trainer.precision
    fabric = Fabric(accelerator=config.trainer.accelerator, devices=1, precision=precision)
    read = (data.tokenizer.checksum, data.sequence_length) if isinstance(data, ModelData) else ()
    cache = ScoreCache(run, trained.step, checksum(trained.checksum(), *read, precision))
    model: nn.Module | None = None
    todo = [(benchmark, part) for benchmark in benchmarks for part in benchmark.parts]
    for number, (benchmark, part) in enumerate(todo, start=1):
        before, started = cache.has(benchmark, part), time.monotonic()
        name = benchmark.name if benchmark.name.startswith("harness/") else f"{benchmark.name}/{part}"
        if model is None and not before:
            model = fabric.setup_module(trained.model())
        scores = cache.score(model, benchmark, part, watch=watch(name))
        done(Part(number, len(todo), name, scores, None if before else time.monotonic() - started))
        if part == benchmark.parts[-1]:
            _finish(run, trained, config, benchmark, cache)
    return [cache.whole(benchmark, conditions(config, benchmark.name)) for benchmark in benchmarks]


def _finish(run: Path, trained: Checkpoint, config: DictConfig, benchmark: Benchmark, cache: ScoreCache) -> None:
    """Record a benchmark that is done in the run's MLflow run, unless it is there, and write it down."""
    under, own = (conditions(of, benchmark.name) for of in (config, trained.config))
    # Within a name the store can hold only scores that are made alike.
    mark = "".join(f"{key}_{'all' if value is None else value}/" for key, value in under.items() if value != own[key])
    evaluation = cache.whole(benchmark, under)
    if not evaluation.tracked:
        metrics = {f"{mark}{name}": value for name, value in evaluation.metrics.items()}
        tracked = add_metrics(store_of(run, config), RunFolder(run).run_id, metrics, trained.step)
        evaluation = evaluation._replace(tracked=tracked)
    cache.keep(benchmark, evaluation)


def _knobs(overrides: Sequence[str]) -> list[str]:
    """The knob or group of each override."""
    return [override.key_or_group for override in parse(overrides)]
