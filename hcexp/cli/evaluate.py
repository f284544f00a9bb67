"""Measure runs that trained, or still train: the weights of a checkpoint on validation sets and downstream tasks.

The network and its precision are those that the run has recorded; overrides change what it is measured on. Only what
they name is measured (evaluation=…, downstream=…, --harness), or, if they name none of it, what the run itself was
measured on. A set or task that is done is kept in the run's folder: after an interruption the same command goes on,
and a newer checkpoint starts anew. The scores go into the run's MLflow run and into the reports of its sweep; those of
a quick look, or of another precision than the run's, go under other names into MLflow, and into no report. In one
process, on a GPU if there is one.

example:
  hcexp evaluate runs/0123456789abcdef evaluation=v3 downstream=paper
  hcexp evaluate runs/0123456789abcdef runs/fedcba9876543210 downstream=paper evaluation.documents=200
  hcexp evaluate runs/0123456789abcdef evaluation=local evaluation.files=my/held_out trainer.precision=32-true
  hcexp evaluate runs/0123456789abcdef evaluation=v2 evaluation.source=/data/olmo
  hcexp evaluate runs/0123456789abcdef --harness arc_easy,piqa
  hcexp evaluate runs/0123456789abcdef --harness my_task --harness-folder my/tasks
"""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.cli.arguments import add_overrides, is_override, parser, require_flags, run_folder

if TYPE_CHECKING:
    from rich.console import Console


def main(arguments: Sequence[str]) -> int:
    options = parser("evaluate", __doc__)
    options.usage = "%(prog)s RUN [RUN ...] [options] [OVERRIDE ...]"
    options.add_argument("--checkpoint", type=Path, help="the checkpoint (default: the run's newest)")
    options.add_argument("--harness", metavar="TASKS", help="tasks of lm-evaluation-harness, with commas between them")
    options.add_argument("--harness-folder", type=Path, metavar="FOLDER", help="with YAML files of further such tasks")
    add_overrides(options)
    chosen = _parse(options, arguments)
    from hcexp.run.checkpoint import read_checkpoint
    from hcexp.run.describe import name
    from hcexp.run.evaluate import Part, measure, prepared, reconfigured
    from hcexp.run.score_table import Scored, in_words, score_tables
    from hcexp.tables.terminal import console, say, show

    terminal = console()

    def done(part: Part) -> None:
        took = "measured before" if part.seconds is None else f"{part.seconds:.0f} s"
        say(f"[{part.number}/{part.of}] {part.name}: {in_words(part.scores)}  ({took})", terminal)

    # Whatever is wrong with any of the runs is found before the first is measured.
    trained = [read_checkpoint(run, chosen.checkpoint) for run in chosen.runs]
    configs = [reconfigured(one.config, chosen.overrides) for one in trained]
    benchmarks = prepared(configs, chosen.overrides, chosen.tasks, chosen.harness_folder)
    scored = []
    for run, one, config, measured in zip(chosen.runs, trained, configs, benchmarks, strict=True):
        label = f"{name(config)}, seed {config.seed}"
        say(f"{run}: {label}, step {one.step:,} of {config.steps:,}", terminal)
        watch = lambda name: lambda batches: _bar(batches, name, terminal)  # noqa: E731
        evaluations = measure(run, one, config, measured, watch=watch, done=done)
        scored.append(Scored(f"{label} {run.resolve().name[:8]}", config, evaluations))
    for table in score_tables(scored):
        show(table, terminal)
    return 0


def _parse(options, arguments: Sequence[str]) -> Namespace:
    """The words that are no overrides are runs."""
    chosen = options.parse_intermixed_args(arguments)
    runs = [word for word in chosen.overrides if not is_override(word)]
    chosen.overrides = [word for word in chosen.overrides if is_override(word)]
    require_flags(options, chosen.overrides)
    chosen.runs = list(dict.fromkeys(map(run_folder, runs)))
    if not chosen.runs:
        options.error("name the folder of a run at least: hcexp evaluate runs/0123456789abcdef")
    if chosen.checkpoint and len(chosen.runs) > 1:
        options.error(f"--checkpoint={chosen.checkpoint} is of one run: name that run alone")
    chosen.tasks = list(dict.fromkeys(filter(None, (chosen.harness or "").split(","))))
    if chosen.harness is not None and not chosen.tasks:
        options.error("--harness names no task: write --harness arc_easy,piqa")
    if chosen.harness_folder and not chosen.tasks:
        options.error(f"--harness-folder={chosen.harness_folder} needs the names of tasks: add --harness …")
    return chosen


def _bar(batches: Iterable, name: str, console: "Console") -> Iterator:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    alone = len(batches) == 1  # lm-evaluation-harness shows its own progress
    with Progress(*columns, console=console, transient=True, disable=alone or not console.is_terminal) as bar:
        yield from bar.track(batches, total=len(batches), description=name)
