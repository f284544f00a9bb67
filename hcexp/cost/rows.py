"""The rows of a table of costs: from overrides that list residual modes and their knobs, or from a sweep."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from hcexp.configuration import compose, nearest, parse, shipped, values
from hcexp.run.folder import mode as named
from hcexp.study.sweep.sweep import Sweep

BASELINE = "pre_norm"


@dataclass(frozen=True)
class Row:
    """A configuration under the name that its row has."""

    label: str
    config: DictConfig


def listed(overrides: Sequence[str]) -> list[Row]:
    """Pre-norm, and every combination of the modes and of the values of their knobs, each once.

    `residual=shc,dhc residual.n=2,4` has four combinations. A knob goes to the modes that have it; without a mode,
    all shipped ones are meant.

    Raises:
        ValueError: a knob that no mode among them has, or a list of anything else.
    """
    parsed = parse(overrides)
    of_modes = [o for o in parsed if o.key_or_group.split(".")[0] == "residual"]
    network = [o.input_line for o in parsed if o not in of_modes]
    for override in parsed:
        if override not in of_modes and override.is_sweep_override():
            raise ValueError(
                f"{override.input_line}: only residual and its knobs can be lists here, and compile with --measure"
            )
    modes = [value.partition("=")[2] for o in of_modes if o.key_or_group == "residual" for value in values(o)]
    modes = modes or sorted(path.stem for path in (shipped("conf") / "residual").glob("*.yaml"))
    plain = {mode: compose([*network, f"residual={mode}"]) for mode in modes}
    knobs = [o for o in of_modes if o.key_or_group != "residual"]
    for knob in knobs:
        if not any(_has(config, knob) for config in plain.values()):
            raise ValueError(_not_a_knob(knob, plain))
    rows = [Row(BASELINE, compose([*network, f"residual={BASELINE}"]))]
    for mode in modes:
        for chosen in product(*(values(knob) for knob in knobs if _has(plain[mode], knob))):
            config = compose([*network, f"residual={mode}", *chosen])
            if all(config.residual != row.config.residual for row in rows):
                rows.append(Row(named(config), config))
    return rows


def ways(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides, once for every value that `compile` lists: how the steps of all rows are measured."""
    chosen = [override for override in parse(overrides) if override.key_or_group == "compile"]
    others = [override for override in overrides if override not in {one.input_line for one in chosen}]
    return [[*others, value] for one in chosen[-1:] for value in values(one)] or [others]


def of_sweep(sweep: Sweep, overrides: Sequence[str]) -> list[Row]:
    """The rows of a sweep, its baseline first, under overrides that are common to all.

    Raises ValueError for an override of the residual mode: that is what a sweep's rows differ in.
    """
    for override in parse(overrides):
        if override.key_or_group.split(".")[0] == "residual":
            raise ValueError(f"{override.input_line}: --sweep says which residual modes; leave one of them out")
    rows = []
    for row in sorted(sweep.rows, key=lambda row: row.label != sweep.baseline):
        try:
            rows.append(Row(row.label, compose([*sweep.overrides, *row.overrides, *overrides])))
        except Exception as error:
            error.add_note(f"in the row {row.label} of sweep {sweep.name}")
            raise
    return rows


def measuring(sweep: Sweep, scale: str) -> str:
    """The command that measures the training steps of a sweep's rows for its report."""
    tuned = ["--tuned", str(sweep.tuning.file)] if sweep.tuning else []
    words = ["hcexp", "cost", "--sweep", sweep.word or sweep.name, f"scale={scale}", "--measure", *tuned]
    return shlex.join(words)


def _has(config: DictConfig, knob: Override) -> bool:
    """Whether the mode has that knob; what `+` adds is for every mode."""
    return knob.is_add() or knob.is_force_add() or _name(knob) in config.residual


def _not_a_knob(knob: Override, modes: Mapping[str, DictConfig]) -> str:
    theirs = sorted({str(n) for config in modes.values() for n in config.residual if not str(n).startswith("_")})
    there = f"; there is {', '.join(theirs)}" if theirs else ""
    return f"residual.{_name(knob)} is not a knob of {', '.join(modes)}{nearest(_name(knob), theirs)}{there}"


def _name(knob: Override) -> str:
    return knob.key_or_group.partition(".")[2]
