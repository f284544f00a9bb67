"""What residual modes cost: parameters, operations a token and memory, and with measure=true speed.

Counting allocates nothing and answers for any size in seconds. Modes and their knobs may be lists; a knob goes to the
modes that have it, and without `residual=` every mode is shown. Pre-norm is the baseline.

measure=true times training steps on this machine, all modes in turn round by round, and takes their peak memory. A
step is that of one micro-batch: data.batch_size is cut by trainer.accumulate_grad_batches and trainer.devices.

--gpu says what the run takes on a cluster: memory of each GPU, the largest micro-batch that fits, days for all of its
tokens. There are --count of them, or trainer.devices × trainer.num_nodes. GPUs: a100-40, a100-80, h100, h200, b200,
rtx4090, or memory, peak and bandwidth of another.

example:
  hcexp cost model=1b data.sequence_length=2048
  hcexp cost model=7b residual=shc,dhc residual.n=2,4
  hcexp cost scale=tiny residual=altup,dhc residual.n=2 measure=true
  hcexp cost --sweep table2 scale=1b measure=true --csv table2.csv
  hcexp cost scale=7b residual=dhc --gpu h200 --count 64 trainer=fsdp
"""

import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hcexp.cli.arguments import add_overrides, parse, parser, whole
from hcexp.cli.quiet import quiet

UTILISATION = 0.4  # an assumption, and told as one


def main(arguments: Sequence[str]) -> int:
    options = parser("cost", __doc__)
    options.add_argument("--sweep", help="the rows of a sweep: a name in sweeps/, or a YAML file of your own")
    options.add_argument("--rounds", type=whole, default=15, help="steps of each mode to measure (default: 15)")
    options.add_argument("--csv", metavar="FILE", help="write the numbers there too, unrounded")
    options.add_argument("--gpu", help="what the run takes on such GPUs: h200, or 96GB,400TFLOP/s,3.2TB/s")
    options.add_argument("--count", type=whole, help="how many, over all nodes (default: as the run names, or 1)")
    options.add_argument(
        "--utilisation", type=float, help=f"share of their peak that training reaches (default: {UTILISATION})"
    )
    add_overrides(options)
    chosen = parse(options, arguments)
    quiet()
    # The profiler's own log; it is read when torch is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    measure, chosen.overrides = _measure(chosen.overrides)
    if chosen.csv:
        _require_writable(Path(chosen.csv))
    _cost(chosen, measure, arguments)
    return 0


def _measure(overrides: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether to measure, and the overrides that are Hydra's."""
    said = [override for override in overrides if override.startswith("measure=")]
    value = said[-1].partition("=")[2].lower() if said else "false"
    if value not in ("true", "false"):
        raise ValueError(f"{said[-1]} is not allowed: it must be true or false")
    return value == "true", [override for override in overrides if override not in said]


def _require_writable(path: Path) -> None:
    """Before anything is measured; ValueError for where no file can be written."""
    if path.is_dir():
        raise ValueError(f"--csv {path} is a folder: name a file")
    folder = next(p for p in path.absolute().parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"--csv {path} cannot be written: {folder} is no folder that may be written to")


def _cost(chosen: Namespace, measure: bool, arguments: Sequence[str]) -> None:
    from rich.console import Console

    from hcexp.cli.cost_cluster import named_cluster, require_plan, show_cluster
    from hcexp.cli.cost_rows import listed, of_sweep
    from hcexp.cli.cost_tables import Line, show_measured, show_predicted, write_csv
    from hcexp.configuration import shareable, shipped
    from hcexp.report.predicted import predicted
    from hcexp.study import load_sweep

    sweep = load_sweep(chosen.sweep, shipped("sweeps")) if chosen.sweep else None
    rows = of_sweep(sweep, chosen.overrides) if sweep else listed(chosen.overrides)
    cluster = named_cluster(chosen, rows[0].config, UTILISATION)
    if cluster:
        require_plan(rows[0].config, cluster)
    lines = [Line(row.label, row.config, predicted(row.config), row is rows[0]) for row in rows]
    console = Console()
    show_predicted(lines, console)
    if cluster:
        taken = show_cluster(lines, cluster, console)
        lines = [replace(line, taken=columns) for line, columns in zip(lines, taken, strict=True)]
    if measure:
        from hcexp.cli.cost_measured import measured

        command = shlex.join(["hcexp", "cost", *map(str, shareable(arguments))])
        steps = measured(rows, chosen.rounds, command)
        lines = [replace(line, measured=step) for line, step in zip(lines, steps, strict=True)]
        show_measured(lines, console)
    files = [Path(chosen.csv)] if chosen.csv else []
    if sweep and measure:
        files.append(_beside_the_report(sweep.name, rows[0].config))
    for path in files:
        write_csv(lines, path)
        console.print(f"table: {path}", highlight=False, soft_wrap=True)


def _beside_the_report(sweep: str, config) -> Path:
    from hcexp.report.measured import FILE

    return Path(config.paths.runs) / "reports" / f"{sweep}-{config.choices.scale}" / FILE
