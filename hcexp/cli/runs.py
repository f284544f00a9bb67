"""List the runs that there are: mode, state, loss, tokens per second; the newest last.

Overrides choose among them: only runs that have been given these values are listed, of several by commas any, of
glob(…) those that match. A run is running, finished, pruned (by a search), failed, or stopped: the same command goes
on. A damaged one cannot be read. What `hcexp sweep --rerun-stale` has set aside lies in `stale` among the runs.

example:
  hcexp runs
  hcexp runs residual=shc,dhc scale=tiny seed=0 --sort loss
  hcexp runs residual.n=4 paths.runs=elsewhere/runs
  hcexp runs 'residual=glob(*hc)' paths.runs=runs/stale
"""

from collections.abc import Sequence
from pathlib import Path

from hcexp.cli.arguments import add_overrides, parse, parser


def main(arguments: Sequence[str]) -> int:
    options = parser("runs", __doc__)
    options.add_argument("--sort", choices=("time", "loss", "mode"), default="time", help="by what (default: time)")
    add_overrides(options)
    chosen = parse(options, arguments)
    from hcexp.configuration import compose
    from hcexp.run.listing import chosen_runs, runs_table
    from hcexp.tables.terminal import console, show

    places = [override for override in chosen.overrides if override.startswith("paths.")]
    wanted = [override for override in chosen.overrides if override not in places]
    folder = Path(compose(places).paths.runs)
    if runs := chosen_runs(folder, wanted, chosen.sort):
        show(runs_table(runs), console())
    else:
        print(f"no run{' with these values' if wanted else ''} in {folder}")
    return 0
