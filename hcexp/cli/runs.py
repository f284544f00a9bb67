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
from typing import TYPE_CHECKING, Any

from hcexp.cli.arguments import add_overrides, parse, parser
from hcexp.cli.quiet import quiet

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Glob

    from hcexp.run.folder import RunFolder

ABSENT = object()
STYLES = {"failed": "red", "damaged": "red", "running": "green", "finished": "", "pruned": "dim", "stopped": "yellow"}


def main(arguments: Sequence[str]) -> int:
    options = parser("runs", __doc__)
    options.add_argument("--sort", choices=("time", "loss", "mode"), default="time", help="by what (default: time)")
    add_overrides(options)
    chosen = parse(options, arguments)
    quiet()
    from hcexp.configuration import compose
    from hcexp.run.folder import run_folders

    places = [override for override in chosen.overrides if override.startswith("paths.")]
    folder = Path(compose(places).paths.runs)
    wanted = _wanted([override for override in chosen.overrides if override not in places])
    every = list(run_folders(folder))
    runs, damaged = [run for run in every if not run.damage], [run for run in every if run.damage]
    for knob in wanted:
        if runs and all(_value(run, knob) is ABSENT for run in runs):
            raise ValueError(f"{knob} is not a knob of any run in {folder}{_nearest(knob, runs)}")
    found = [run for run in runs if all(_is_one(_value(run, knob), of) for knob, of in wanted.items())]
    if not found and not damaged:
        which = " with these values" if wanted else ""
        print(f"no run{which} in {folder}")
        return 0
    _show(_sorted(found, chosen.sort), damaged)
    return 0


def _wanted(overrides: Sequence[str]) -> "dict[str, list[Any] | Glob]":
    """The values that each knob may have, or a pattern of them; raises ValueError for a sweep that lists none."""
    from hydra.core.override_parser.types import Glob

    from hcexp.configuration import parse as parse_overrides

    wanted: dict[str, list[Any] | Glob] = {}
    for override in parse_overrides(overrides):
        value = override.value()
        if not override.is_sweep_override():
            value = [value]
        elif not isinstance(value, Glob):
            if not (override.is_choice_sweep() or override.is_range_sweep()):
                raise ValueError(
                    f"{override.input_line}: give one value, several as 0,1, a range as range(0,3), or a pattern as "
                    "glob(*)"
                )
            value = list(override.sweep_iterator())
        wanted[override.key_or_group] = value
    return wanted


def _is_one(value: Any, wanted: "list[Any] | Glob") -> bool:
    if isinstance(wanted, list):
        return value in wanted
    # Of what the runs have: a mode from elsewhere, or of another version, is no choice here today.
    return value is not ABSENT and bool(wanted.filter([str(value)]))


def _value(run: "RunFolder", knob: str) -> Any:
    from omegaconf import OmegaConf

    choices = run.config["choices"]
    return choices[knob] if knob in choices else OmegaConf.select(OmegaConf.create(run.config), knob, default=ABSENT)


def _nearest(knob: str, runs: "Sequence[RunFolder]") -> str:
    from hcexp.cli.errors import nearest
    from hcexp.run.identity import flat

    return nearest(knob, {name for run in runs for name in (*run.config["choices"], *flat(run.config))})


def _sorted(runs: "list[RunFolder]", by: str) -> "list[RunFolder]":
    if by == "loss":  # losses of one suite stand together, those without one at the end
        return sorted(runs, key=lambda run: (run.loss is None, run.loss or ()))
    return sorted(runs, key=lambda run: (run.mode, run.config["seed"])) if by == "mode" else runs


def _show(runs: "Sequence[RunFolder]", damaged: "Sequence[RunFolder]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hcexp.tables.format import NOTHING, short

    console = Console()
    table = Table("run", "mode", "scale", box=SIMPLE_HEAD)
    for header in ("seed", "state", "step", "loss", "of", "tokens/s"):
        table.add_column(header, justify="left" if header in ("state", "of") else "right")
    for run in runs:
        suite, loss = run.loss or (NOTHING, None)
        cells = (
            run.path.name,
            run.mode,
            run.config["choices"]["scale"],
            str(run.config["seed"]),
            run.state,
            f"{run.step:,}" if run.state == "finished" else f"{run.step:,}/{run.config['steps']:,}",
            NOTHING if loss is None else f"{loss:.3f}",
            suite,
            NOTHING if run.tokens_per_second is None else short(run.tokens_per_second),
        )
        table.add_row(*map(Text, cells), style=STYLES[run.state])
    for run in damaged:
        cells = (run.path.name, NOTHING, NOTHING, NOTHING, "damaged", *[NOTHING] * 4)
        table.add_row(*map(Text, cells), style=STYLES["damaged"])
    # A file has no width that a table could exceed.
    (console if console.is_terminal else Console(width=1000)).print(table)
    notes = [f"{run.path.name}: {run.result.get('error')}" for run in runs if run.state == "failed"]
    for note in (*notes, *(run.damage for run in damaged)):
        console.print(Text(note, style="red"), soft_wrap=True)
