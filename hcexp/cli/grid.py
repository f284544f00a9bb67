"""The points of a grid: overrides that list values, multiplied."""

from collections.abc import Sequence
from itertools import product

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override

from hcexp.configuration import parse


def values(override: Override) -> list[str]:
    """The override as it is, or each of those that it lists."""
    if not override.is_sweep_override():
        return [override.input_line]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def points(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[list[str]]:
    """Every combination, in the order of Hydra's own sweeper; what configures Hydra itself has no part in it.

    The loader says what a `glob` matches.

    None at all where an override is a range of real numbers, from which a sweeper draws as it likes.
    """
    parsed = [o for o in parse(overrides, loader) if not of_hydra(o.input_line)]
    if any(o.is_sweep_override() and not o.is_discrete_sweep() for o in parsed):
        return []
    return [list(point) for point in product(*map(values, parsed))]


def of_hydra(override: str) -> bool:
    """Whether it configures Hydra: `hydra.searchpath=…`, `hydra/launcher=…`."""
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))
