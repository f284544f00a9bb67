"""The runs of a folder, chosen by what they have been given, in a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob, Override
from omegaconf import OmegaConf

from hcexp.configuration import nearest, parse
from hcexp.run.folder import RunFolder, run_folders
from hcexp.run.identity import flat
from hcexp.tables.format import short
from hcexp.tables.table import Column, Table, lay_out

ABSENT = object()
# By what runs are sorted: losses of one suite stand together, those without one at the end.
ORDERS = {
    "time": None,
    "loss": lambda run: (run.loss is None, run.loss or ()),
    "mode": lambda run: (run.mode, run.config["seed"]),
}


def chosen_runs(folder: Path, overrides: Sequence[str], order: str) -> list[RunFolder]:
    """The runs in a folder that have been given these values, in that order, and at the end the damaged ones.

    Of a list of values any is meant, of `glob(…)` those that match what the runs have. Raises ValueError for a sweep
    that lists none, and for a knob that no run has.
    """
    wanted = {override.key_or_group: _values(override) for override in parse(overrides)}
    every = list(run_folders(folder))
    runs, damaged = [run for run in every if not run.damage], [run for run in every if run.damage]
    for knob in wanted:
        if runs and all(_value(run, knob) is ABSENT for run in runs):
            known = {name for run in runs for name in (*run.config["choices"], *flat(run.config))}
            raise ValueError(f"{knob} is not a knob of any run in {folder}{nearest(knob, known)}")
    found = [run for run in runs if all(_is_one(_value(run, knob), of) for knob, of in wanted.items())]
    return [*(sorted(found, key=ORDERS[order]) if ORDERS[order] else found), *damaged]


def runs_table(runs: Sequence[RunFolder]) -> Table:
    """Mode, state, loss and tokens per second; below it the errors of those that failed or are damaged."""

    def of(header: str, what: Any, side: str = "right") -> tuple[Column, Any]:
        return Column(header, side=side), lambda run: None if run.damage else what(run)

    entries = (
        (Column("run", side="left"), lambda run: run.path.name),
        of("mode", lambda run: run.mode, "left"),
        of("scale", lambda run: run.config["choices"]["scale"], "left"),
        of("seed", lambda run: str(run.config["seed"])),
        (Column("state", side="left"), lambda run: "damaged" if run.damage else run.state),
        of("step", lambda run: f"{run.step:,}" + ("" if run.state == "finished" else f"/{run.config['steps']:,}")),
        of("loss", lambda run: run.loss and f"{run.loss[1]:.3f}"),
        of("of", lambda run: run.loss and run.loss[0], "left"),
        of("tokens/s", lambda run: run.tokens_per_second and short(run.tokens_per_second)),
    )
    failed = (f"{run.path.name}: {run.result.get('error')}" for run in runs if not run.damage and run.state == "failed")
    return lay_out("", runs, entries, notes=(*failed, *(run.damage for run in runs if run.damage)))


def _values(override: Override) -> list[Any] | Glob:
    """The values that a knob may have, or a pattern of them."""
    value = override.value()
    if not override.is_sweep_override():
        return [value]
    if isinstance(value, Glob):
        return value
    if not (override.is_choice_sweep() or override.is_range_sweep()):
        raise ValueError(
            f"{override.input_line}: give one value, several as 0,1, a range as range(0,3), or a pattern as glob(*)"
        )
    return list(override.sweep_iterator())


def _is_one(value: Any, wanted: list[Any] | Glob) -> bool:
    if isinstance(wanted, list):
        return value in wanted
    # Of what the runs have: a mode from elsewhere, or of another version, is no choice here today.
    return value is not ABSENT and bool(wanted.filter([str(value)]))


def _value(run: RunFolder, knob: str) -> Any:
    choices = run.config["choices"]
    return choices[knob] if knob in choices else OmegaConf.select(OmegaConf.create(run.config), knob, default=ABSENT)
