"""Measure runs that trained, or still train: the weights of a checkpoint on validation sets and downstream tasks.

The network and its precision are those that the run has recorded; overrides change what it is measured on. Only what
they name is measured (evaluation=…, downstream=…, harness=…), or, if they name none of it, what the run itself was
measured on. A set or task that is done is kept in the run's folder: after an interruption the same command goes on,
and a newer checkpoint starts anew. The scores go into the run's MLflow run and into the reports of its sweep; those of
a quick look, or of another precision than the run's, go under other names into MLflow, and into no report. In one
process, on a GPU if there is one.

example:
  hcexp evaluate runs/0123456789abcdef evaluation=v3 downstream=paper
  hcexp evaluate runs/0123456789abcdef runs/fedcba9876543210 downstream=paper evaluation.documents=200
  hcexp evaluate runs/0123456789abcdef evaluation=local evaluation.files=my/held_out trainer.precision=32-true
  hcexp evaluate runs/0123456789abcdef evaluation=v2 evaluation.source=/data/olmo
  hcexp evaluate runs/0123456789abcdef harness=arc_easy,piqa
  hcexp evaluate runs/0123456789abcdef harness=my_task --harness-folder my/tasks
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.cli.arguments import add_overrides, parser
from hcexp.cli.quiet import quiet

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hcexp.evaluation.benchmark import Benchmark

# The overrides that name what is to be measured; the others say how.
NAMING = {
    "evaluation": ("evaluation", "evaluation.files", "evaluation.sets"),
    "downstream": ("downstream", "downstream.tasks"),
}


def main(arguments: Sequence[str]) -> int:
    options = parser("evaluate", __doc__)
    options.usage = "%(prog)s RUN [RUN ...] [options] [OVERRIDE ...]"
    options.add_argument("--checkpoint", type=Path, help="the checkpoint (default: the run's newest)")
    options.add_argument("--harness", metavar="TASKS", help="tasks of lm-evaluation-harness, as harness=TASKS")
    options.add_argument("--harness-folder", type=Path, metavar="FOLDER", help="with YAML files of further such tasks")
    add_overrides(options)
    chosen = _parse(options, arguments)
    quiet()
    from rich.console import Console

    from hcexp.cli.measure import measure
    from hcexp.cli.reconfigured import reconfigured
    from hcexp.cli.scores import Column, label, show
    from hcexp.run.checkpoint import load_trained

    # Whatever is wrong with any of the runs is found before the first is measured.
    trained = [load_trained(run, chosen.checkpoint) for run in chosen.runs]
    configs = [reconfigured(one.config, chosen.overrides) for one in trained]
    benchmarks = _benchmarks(configs, chosen)
    console = Console()
    columns = []
    for run, one, config, measured in zip(chosen.runs, trained, configs, benchmarks, strict=True):
        console.print(f"{run}: {label(config)}, step {one.step:,} of {config.steps:,}", highlight=False, soft_wrap=True)
        evaluations = measure(run, one, config, measured, console)
        columns.append(Column(f"{label(config)}\n{run.resolve().name[:8]}", config, evaluations))
    show(columns, console)
    return 0


def _parse(options, arguments: Sequence[str]) -> Namespace:
    """The arguments without a `=` are runs; `harness=…` is a word of this verb, the others are Hydra's overrides."""
    chosen = options.parse_intermixed_args(arguments)
    words = chosen.overrides
    chosen.runs = list(dict.fromkeys(Path(word) for word in words if "=" not in word and not word.startswith("~")))
    chosen.overrides = [word for word in words if Path(word) not in chosen.runs and not word.startswith("harness=")]
    if not chosen.runs:
        options.error("name the folder of a run at least: hcexp evaluate runs/0123456789abcdef")
    if chosen.checkpoint and len(chosen.runs) > 1:
        options.error(f"--checkpoint={chosen.checkpoint} is of one run: name that run alone")
    tasks = [word.removeprefix("harness=") for word in words if word.startswith("harness=")]
    tasks += [chosen.harness] if chosen.harness is not None else []
    chosen.harness = list(dict.fromkeys(task for text in tasks for task in text.strip("[]").split(",") if task))
    if tasks and not chosen.harness:
        options.error("harness= names no task: write harness=arc_easy,piqa")
    if chosen.harness_folder and not tasks:
        options.error(f"--harness-folder={chosen.harness_folder} needs the names of tasks: add harness=…")
    return chosen


def _benchmarks(configs: "Sequence[DictConfig]", chosen: Namespace) -> "list[list[Benchmark]]":
    """What each run is to be measured on, prepared; runs that are measured alike share it, tokenised tasks included."""
    from omegaconf import OmegaConf

    from hcexp.disk.checksum import checksum

    given = [override.lstrip("+~").partition("=")[0] for override in chosen.overrides]
    named = [group for group, knobs in NAMING.items() if any(knob in given for knob in knobs)]
    groups = named or ([] if chosen.harness else list(NAMING))
    ready: dict[str, list[Benchmark]] = {}
    found = []
    for config in configs:
        sections = {name: OmegaConf.to_container(config[name], resolve=True) for name in (*NAMING, "data", "paths")}
        key = checksum(sections)
        if key not in ready:
            ready[key] = _prepared(config, groups, chosen)
        found.append(ready[key])
    return found


def _prepared(config: "DictConfig", groups: Sequence[str], chosen: Namespace) -> "list[Benchmark]":
    from hydra.utils import instantiate

    from hcexp.evaluation.harness.task import HarnessTask
    from hcexp.run.checkpoint import tokenizer_of

    tokenizer, length = tokenizer_of(config), config.data.sequence_length
    benchmarks: list[Benchmark] = []
    if "evaluation" in groups:
        benchmarks.append(instantiate(config.evaluation))
        benchmarks[-1].prepare(tokenizer, config.paths.cache, length, verify=config.data.verify)
    if "downstream" in groups:
        benchmarks.append(instantiate(config.downstream))
        benchmarks[-1].prepare(tokenizer, length)
    for task in chosen.harness:
        documents, batch_size = config.evaluation.documents, config.downstream.batch_size
        benchmarks.append(HarnessTask(task, chosen.harness_folder, documents, batch_size))
        benchmarks[-1].prepare(tokenizer, length)
    if not (benchmarks := [benchmark for benchmark in benchmarks if benchmark.parts]):
        raise ValueError("there is nothing to measure: choose evaluation=…, downstream=… or harness=…")
    return benchmarks
