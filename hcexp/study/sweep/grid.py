"""A grid: every combination of some knobs' values is a row."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from hcexp.study.sweep.checks import check_knob, check_values
from hcexp.study.sweep.overrides import override, short, written
from hcexp.study.sweep.sweep import Row


def with_grid(where: str, grid: Any, rows: Sequence[Row] | None = None) -> tuple[Row, ...]:
    """The rows of a grid `{knob: [value, …]}`, the last knob's values changing fastest; with `rows`, each of them
    with every combination.

    A row is called after its values, `n=4, tanh=false`. Raises ValueError, in one line that begins with `where`, if it
    is no such mapping.
    """
    if not isinstance(grid, dict) or not grid:
        raise ValueError(f"{where} {grid!r} is not a mapping of knobs to lists, such as {{residual.n: [1, 2, 4]}}")
    for knob, values in grid.items():
        check_knob(where, knob, values)
        check_values(f"{where}: {knob}", values)
    combined = []
    for row in [Row("")] if rows is None else rows:
        for values in product(*grid.values()):
            texts = [value if isinstance(value, str) else written(value) for value in values]
            label = ", ".join(f"{name}={text}" for name, text in zip(short(grid).values(), texts, strict=True))
            own = tuple(override(knob, value) for knob, value in zip(grid, values, strict=True))
            combined.append(Row(f"{row.label}, {label}" if row.label else label, (*row.overrides, *own)))
    return tuple(combined)
