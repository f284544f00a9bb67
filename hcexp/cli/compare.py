"""Show in what runs differ: their configurations, what made them, and their final metrics.

RUN is the folder of a run, or how its name begins. The first is what the others are compared with.

example:
  hcexp compare runs/0123456789abcdef runs/fedcba9876543210
  hcexp compare 0123 fedc 89ab
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcexp.cli.arguments import add_overrides, parser
from hcexp.cli.quiet import quiet

if TYPE_CHECKING:
    from rich.table import Table

    from hcexp.run.folder import RunFolder

# Sections of a configuration that say where a run is and how it is shown, and have no part in what it computes.
PLACES = ("paths.", "tracking.", "callbacks.progress.")


def main(arguments: Sequence[str]) -> int:
    options = parser("compare", __doc__)
    options.usage = "%(prog)s RUN RUN [RUN ...] [paths.runs=FOLDER]"
    add_overrides(options)
    chosen = options.parse_intermixed_args(arguments)
    words = [word for word in chosen.overrides if "=" not in word]
    if len(words) < 2:
        options.error("name two runs at least: hcexp compare runs/0123456789abcdef runs/fedcba9876543210")
    quiet()
    from rich.console import Console

    from hcexp.configuration import compose
    from hcexp.run.folder import find_run

    folder = Path(compose([word for word in chosen.overrides if word not in words]).paths.runs)
    runs = [find_run(word, folder) for word in words]
    console = Console()
    console = console if console.is_terminal else Console(width=1000)
    for title, values in (("configuration", _configurations(runs)), ("made by", _makings(runs))):
        if values:
            console.print(_table(title, runs, values))
        else:
            console.print(f"{title}: no difference", highlight=False)
    console.print(_metrics(runs))
    for note in _notes(runs):
        console.print(note, highlight=False, soft_wrap=True)
    return 0


def _configurations(runs: "Sequence[RunFolder]") -> dict[str, list[Any]]:
    from hcexp.run.identity import flat

    knobs = [
        {name: v for name, v in flat(run.config).items() if not name.rpartition(".")[2].startswith("_")} for run in runs
    ]
    values = {name: found for name, found in _differing(knobs).items() if not name.startswith(PLACES)}
    return {name.removeprefix("choices."): found for name, found in values.items()}


def _makings(runs: "Sequence[RunFolder]") -> dict[str, list[Any]]:
    """What differs of code, versions and hardware; a hash of code is cut to what one can compare by eye."""
    from hcexp.run.identity import flat

    values = _differing([flat(run.result.get("record", {})) for run in runs])
    hashes = ("code", "git.commit")
    return {k: [v[:12] if v and k in hashes else v for v in found] for k, found in values.items()}


def _differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The names under which the mappings do not all have one value, with the value of each; None where it is absent."""
    names = dict.fromkeys(name for run in runs for name in run)
    values = {name: [run.get(name) for run in runs] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _table(title: str, runs: "Sequence[RunFolder]", values: dict[str, list[Any]]) -> "Table":
    from rich.text import Text

    from hcexp.tables.format import NOTHING

    table = _headed(title, runs)
    for name, found in values.items():
        table.add_row(Text(name), *(Text(NOTHING if value is None else str(value)) for value in found))
    return table


def _metrics(runs: "Sequence[RunFolder]") -> "Table":
    """Final metrics, those that were evaluated since too, and of all but the first run the difference to the first."""
    from rich.text import Text

    from hcexp.tables.format import NOTHING, fixed

    table = _headed("final metrics", runs)
    for _ in runs[1:]:
        table.add_column("Δ", justify="right")
    metrics = [run.metrics for run in runs]
    for name in sorted({name for of in metrics for name in of}):
        found = [of.get(name) for of in metrics]
        size = max((abs(value) for value in found if value is not None), default=0)
        decimals = 0 if size >= 1000 else 4 if size >= 0.01 else 6
        changes = [None if None in (value, found[0]) else value - found[0] for value in found[1:]]
        cells = [NOTHING if value is None else fixed(value, decimals) for value in found]
        cells += [NOTHING if change is None else fixed(change, decimals, signed=True) for change in changes]
        table.add_row(*map(Text, [name, *cells]))
    return table


def _names(runs: "Sequence[RunFolder]") -> list[str]:
    """How the runs' names begin; if that does not tell them apart, as one that was set aside and its like, more."""
    from hcexp.run.folder import names

    called = names([run.path for run in runs])
    short = [name[:8] for name in called]
    return short if len(set(short)) == len(runs) else called


def _headed(title: str, runs: "Sequence[RunFolder]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title, box=SIMPLE_HEAD)
    for name, run in zip(_names(runs), runs, strict=True):
        header = f"{name}\n{run.mode}, seed {run.config['seed']}\n{run.state}"
        table.add_column(Text(header), justify="right")
    return table


def _notes(runs: "Sequence[RunFolder]") -> list[str]:
    notes = []
    if len({run.config["seed"] for run in runs}) == 1:
        notes.append("One seed: no difference here can be told from its noise; a sweep with SEEDS=3 gives intervals.")
    else:
        notes.append("The seeds differ: initial weights and batches are not the same, and differences are not paired.")
    named = zip(_names(runs), runs, strict=True)
    if unfinished := [f"{name} ({run.state})" for name, run in named if run.state != "finished"]:
        notes.append(f"Not finished: {', '.join(unfinished)}.")
    return notes
