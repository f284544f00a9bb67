"""One checkpoint on everything that it is to be measured on, with a line for every set and task."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lightning.fabric import Fabric
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from hcexp.cli.scores import line
from hcexp.disk.checksum import checksum
from hcexp.evaluation.benchmark import Benchmark
from hcexp.run.checkpoint import Trained, network_of, tokenizer_of
from hcexp.run.history import store_of
from hcexp.run.scores import Evaluation, Kept, conditions
from hcexp.tracking import add_metrics
from hcexp.tracking.outbox import run_id


def measure(
    run: Path, trained: Trained, config: DictConfig, benchmarks: Sequence[Benchmark], console: Console
) -> list[Evaluation]:
    """Measure what is not measured yet, keep and record it; returns every benchmark as a whole, in order.

    Args:
        run: the run's folder.
        trained: its recorded configuration and the checkpoint's weights.
        config: the configuration to measure with.
        benchmarks: prepared with that configuration.
        console: for the lines, and for a bar if it is a terminal.

    Raises ValueError for weights of another network, or a precision that there is not.
    """
    tokenizer, precision = tokenizer_of(config), config.trainer.precision
    fabric = Fabric(accelerator=config.trainer.accelerator, devices=1, precision=precision)
    answers = checksum(trained.checksum(), tokenizer.checksum, config.data.sequence_length, precision)
    kept = Kept(run, trained.step, answers)
    model: nn.Module | None = None
    todo = [(benchmark, part) for benchmark in benchmarks for part in benchmark.parts]
    for number, (benchmark, part) in enumerate(todo, start=1):
        before, started = kept.has(benchmark, part), time.monotonic()
        name = benchmark.name if benchmark.name.startswith("harness/") else f"{benchmark.name}/{part}"
        if model is None and not before:
            model = fabric.setup_module(network_of(trained))
        scores = kept.score(model, benchmark, part, watch=lambda batches, name=name: _bar(batches, name, console))
        took = "measured before" if before else f"{time.monotonic() - started:.0f} s"
        done = f"[{number}/{len(todo)}] {name}: {line(scores)}  ({took})"
        console.print(done, markup=False, highlight=False, soft_wrap=True)
        if part == benchmark.parts[-1]:
            _finish(run, trained, config, benchmark, kept)
    return [kept.whole(benchmark, conditions(config, benchmark.name)) for benchmark in benchmarks]


def _finish(run: Path, trained: Trained, config: DictConfig, benchmark: Benchmark, kept: Kept) -> None:
    """Record a benchmark that is done in the run's MLflow run, unless it is there, and write it down."""
    under, own = (conditions(of, benchmark.name) for of in (config, trained.config))
    # Within a name the store can hold only scores that are made alike.
    mark = "".join(f"{key}_{'all' if value is None else value}/" for key, value in under.items() if value != own[key])
    evaluation = kept.whole(benchmark, under)
    if not evaluation.tracked:
        metrics = {f"{mark}{name}": value for name, value in evaluation.metrics.items()}
        evaluation = evaluation._replace(tracked=add_metrics(store_of(run, config), run_id(run), metrics, trained.step))
    kept.keep(benchmark, evaluation)


def _bar(batches: Iterable, name: str, console: Console) -> Iterator:
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(batches, total=len(batches), description=name)
