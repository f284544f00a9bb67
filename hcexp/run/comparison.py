"""In what runs differ: their configurations, what made them, and their final metrics."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hcexp.run.folder import RunFolder, names
from hcexp.run.identity import flat
from hcexp.tables.format import NOTHING, fixed
from hcexp.tables.table import Column, Table

# Sections of a configuration that say where a run is and how it is shown, and have no part in what it computes.
PLACES = ("paths.", "tracking.", "callbacks.progress.")


def comparison(runs: Sequence[RunFolder]) -> list[Table]:
    """Tables of what differs, without a row where nothing does; the first run is what the others are compared with.

    The last one has all final metrics, those that were evaluated since too, and their differences to the first run's.
    """
    return [_configurations(runs), _makings(runs), _metrics(runs)]


def notes(runs: Sequence[RunFolder]) -> list[str]:
    """What to think of the differences."""
    one = "One seed: no difference here can be told from its noise; a sweep with SEEDS=3 gives intervals."
    several = "The seeds differ: initial weights and batches are not the same, and differences are not paired."
    said = [one if len({run.config["seed"] for run in runs}) == 1 else several]
    named = zip(_names(runs), runs, strict=True)
    if unfinished := [f"{name} ({run.state})" for name, run in named if run.state != "finished"]:
        said.append(f"Not finished: {', '.join(unfinished)}.")
    return said


def _configurations(runs: Sequence[RunFolder]) -> Table:
    knobs = [
        {name: v for name, v in flat(run.config).items() if not name.rpartition(".")[2].startswith("_")} for run in runs
    ]
    values = {name: found for name, found in _differing(knobs).items() if not name.startswith(PLACES)}
    return _table("configuration", runs, {name.removeprefix("choices."): found for name, found in values.items()})


def _makings(runs: Sequence[RunFolder]) -> Table:
    """What differs of code, versions and hardware; a hash of code is cut to what one can compare by eye."""
    values = _differing([flat(run.result.get("record", {})) for run in runs])
    hashes = ("code", "git.commit")
    return _table("made by", runs, {k: [v[:12] if v and k in hashes else v for v in f] for k, f in values.items()})


def _differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The names under which the mappings do not all have one value, with the value of each; None where it is absent."""
    values = {name: [run.get(name) for run in runs] for name in dict.fromkeys(name for run in runs for name in run)}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _metrics(runs: Sequence[RunFolder]) -> Table:
    values, metrics = {}, [run.metrics for run in runs]
    for name in sorted({name for of in metrics for name in of}):
        found = [of.get(name) for of in metrics]
        size = max((abs(value) for value in found if value is not None), default=0)
        decimals = 0 if size >= 1000 else 4 if size >= 0.01 else 6
        changes = [None if None in (value, found[0]) else value - found[0] for value in found[1:]]
        values[name] = [None if value is None else fixed(value, decimals) for value in found]
        values[name] += [None if change is None else fixed(change, decimals, signed=True) for change in changes]
    return _table("final metrics", runs, values, ["Δ"] * (len(runs) - 1))


def _table(
    title: str, runs: Sequence[RunFolder], values: Mapping[str, Iterable[Any]], more: Sequence[str] = ()
) -> Table:
    headers = [f"{name} {run.mode}, seed {run.config['seed']} {run.state}" for name, run in zip(_names(runs), runs)]  # noqa: B905
    rows = tuple(
        (name, *(NOTHING if value is None else str(value) for value in found)) for name, found in values.items()
    )
    return Table("", (Column(title, side="left"), *map(Column, (*headers, *more))), rows)


def _names(runs: Sequence[RunFolder]) -> list[str]:
    """How the runs' names begin; if that does not tell them apart, as one that was set aside and its like, more."""
    called = names([run.path for run in runs])
    short = [name[:8] for name in called]
    return short if len(set(short)) == len(runs) else called
