"""Paper beside measured, from the runs that there are; nothing is trained.

Prints the table and the answer, and writes all of it as Markdown, LaTeX, CSV and one HTML page with the loss curves.
With --analyse, one run of each row is analysed first, unless it was before, and the page shows their connection
matrices. Of a search: what it has found, and the tuned values that other sweeps take.

example:
  hcexp report table1
  hcexp report table1 --scale 1b --seeds 3
  hcexp report table2 --tuned tune_lr
  hcexp report table2 --seeds 3 --analyse
"""

import shlex
from collections.abc import Sequence

from hcexp.cli.arguments import add_sweep, parse_sweep, parser, sweep_command


def main(arguments: Sequence[str]) -> int:
    options = parser("report", __doc__)
    add_sweep(options)
    options.add_argument("--analyse", action="store_true", help="analyse the first finished seed of each row before")
    chosen = parse_sweep(options, arguments)
    from rich.console import Console

    from hcexp.report.publish import publish
    from hcexp.study import plan
    from hcexp.study.named_sweep import named_sweep

    overrides = [f"scale={chosen.scale}", *chosen.overrides]
    sweep = named_sweep(chosen.sweep, overrides, seeds=chosen.seeds, tuned=chosen.tuned)
    points = plan(sweep, chosen.scale, chosen.overrides)
    command = shlex.join(["hcexp", "sweep", *sweep_command(chosen, sweep.seeds)])
    publish(sweep, points, chosen.scale, command, Console(), analyse=chosen.analyse)
    return 0
