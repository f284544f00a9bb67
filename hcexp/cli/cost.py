"""What residual modes cost: parameters, operations a token and memory, and with --measure speed.

Counting allocates nothing and answers for any size in seconds. Modes and their knobs may be lists; a knob goes to the
modes that have it, and without `residual=` every mode is shown. Pre-norm is the baseline.

--measure times training steps on this machine, all modes in turn round by round, so that what else the machine does
falls on all alike, and takes their peak memory. A step is that of one micro-batch: data.batch_size is cut by
trainer.accumulate_grad_batches and trainer.devices. With compile=false,true eager and compiled steps are timed in turn.

--gpu says what the run takes on a cluster: memory of each GPU, the largest micro-batch that fits, days for all of its
tokens. There are --count of them, or trainer.devices × trainer.num_nodes. GPUs: a100-40, a100-80, h100, h200, b200,
rtx4090, or memory, peak and bandwidth of another.

example:
  hcexp cost model=1b data.sequence_length=2048
  hcexp cost model=7b residual=shc,dhc residual.n=2,4
  hcexp cost scale=tiny residual=altup,dhc residual.n=2 --measure
  hcexp cost model=20m residual=shc,dhc data.batch_size=8 --measure compile=false,true
  hcexp cost --sweep table2 scale=1b --measure --csv table2.csv
  hcexp cost scale=7b residual=dhc --gpu h200 --count 64 trainer=fsdp
"""

import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hcexp.cli.arguments import TUNED, add_overrides, parse, parser, whole


def main(arguments: Sequence[str]) -> int:
    options = parser("cost", __doc__)
    options.add_argument("--sweep", help="the rows of a sweep: a name in sweeps/, or a YAML file of your own")
    options.add_argument("--tuned", **TUNED)
    options.add_argument("--measure", action="store_true", help="time training steps on this machine")
    options.add_argument("--rounds", type=whole, default=15, help="steps of each mode to measure (default: 15)")
    options.add_argument("--threads", type=whole, help="CPU threads of a measured step (default: torch's)")
    options.add_argument("--csv", type=Path, metavar="FILE", help="write the numbers there too, unrounded")
    options.add_argument("--gpu", help="what the run takes on such GPUs: h200, or 96GB,400TFLOP/s,3.2TB/s")
    options.add_argument("--count", type=whole, help="how many, over all nodes (default: as the run names, or 1)")
    options.add_argument("--utilisation", type=float, help="share of their peak that training reaches (default: 0.4)")
    add_overrides(options)
    chosen = parse(options, arguments)
    # The profiler's own log; it is read when torch is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    if chosen.csv:
        _require_writable(chosen.csv)
    _cost(chosen, arguments)
    return 0


def _require_writable(path: Path) -> None:
    """Before anything is measured; ValueError for where no file can be written."""
    if path.is_dir():
        raise ValueError(f"--csv {path} is a folder: name a file")
    folder = next(p for p in path.absolute().parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"--csv {path} cannot be written: {folder} is no folder that may be written to")


def _cost(chosen: Namespace, arguments: Sequence[str]) -> None:
    import torch

    from hcexp.configuration import shareable
    from hcexp.cost.benchmark import FILE, measure
    from hcexp.cost.plan import named_cluster
    from hcexp.cost.plan_tables import cluster_tables
    from hcexp.cost.rows import listed, of_sweep, ways
    from hcexp.cost.tables import counted_tables, lines_of, measured_tables, write_csv
    from hcexp.study.named_sweep import named_sweep
    from hcexp.tables.terminal import console, show

    sweep = named_sweep(chosen.sweep, chosen.overrides, tuned=chosen.tuned) if chosen.sweep else None
    given = ways(chosen.overrides) if chosen.measure and not sweep else [chosen.overrides]
    groups = [of_sweep(sweep, words) if sweep else listed(words) for words in given]
    config, terminal = groups[0][0].config, console()
    cluster = named_cluster(chosen.gpu, chosen.count, chosen.utilisation, config)
    lines = lines_of(groups[0])
    for table in counted_tables(lines):
        show(table, terminal)
    if cluster:
        tables, lines = cluster_tables(lines, cluster)
        for table in tables:
            show(table, terminal)
    if chosen.measure:
        if chosen.threads:
            torch.set_num_threads(chosen.threads)
        command = shlex.join(["hcexp", "cost", *shareable(arguments)])
        timings = measure([row for rows in groups for row in rows], chosen.rounds, command)
        lines = [replace(line, measured=own) for line, own in zip(lines * len(groups), timings, strict=True)]
        for table in measured_tables(lines):
            show(table, terminal)
    files = [chosen.csv] if chosen.csv else []
    if sweep and chosen.measure:
        files.append(sweep.report_folder(config.paths.runs, config.choices.scale) / FILE)
    for path in files:
        write_csv(lines, path)
        terminal.print(f"table: {path}", highlight=False, soft_wrap=True)
