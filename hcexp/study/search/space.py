"""What a search may choose, how often, and what ends a trial early."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hcexp.study.search.pruning import make_pruner
from hcexp.study.sweep.checks import check_keys, check_knob, check_values, check_whole

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

KEYS = ("knobs", "trials", "startup", "validations", "pruner")
RANGE_KEYS = ("low", "high", "step", "log")
STARTUP = 5
MARGIN = 1 / 20  # of a range, from its ends


@dataclass(frozen=True)
class Space:
    """The space of a search, alike for every row.

    Of each of its `knobs` it has `{low, high}`, with `log` or `step` if they are wanted, or `{choices}`. Whole numbers
    are drawn where low, high and step are all whole.
    """

    knobs: Mapping[str, Mapping[str, Any]]
    trials: int  # of every row, the default configuration included
    startup: int = STARTUP  # trials of a row that must have ended before TPE draws; until then it is chance
    validations: int | None = None  # of a trial, evenly over its steps, the last one at its end; None: evaluation.every
    pruner: Mapping[str, Any] | None = None  # {name, and its settings}; None lets every trial go to its end

    @cached_property
    def distributions(self) -> dict[str, "BaseDistribution"]:
        return {knob: _distribution(domain) for knob, domain in self.knobs.items()}

    def end(self, knob: str, value: Any) -> str | None:
        """The end, `lower` or `upper`, at which the value lies, or within a twentieth of the range (in logarithms, of a
        `log` one); None if it lies further in, or is one of some choices.
        """
        domain = self.knobs[knob]
        if "choices" in domain:
            return None
        scale = math.log if domain.get("log") else float
        low, high, at = (scale(number) for number in (domain["low"], domain["high"], value))
        margin = MARGIN * (high - low)
        return "lower" if at - low <= margin else "upper" if high - at <= margin else None


def read_space(where: str, content: Any) -> Space:
    """The section `search` of a sweep's file; raises ValueError in one line that begins with `where`."""
    check_keys(where, content, KEYS, required=("knobs", "trials"))
    knobs = content["knobs"]
    if not isinstance(knobs, dict) or not knobs:
        raise ValueError(f"{where}: knobs {knobs!r} is not a mapping, such as {{optimizer.lr: {{low: …, high: …}}}}")
    for knob, domain in knobs.items():
        check_knob(f"{where}: knobs", knob, domain)
        _check_domain(f"{where}: {knob}", domain)
    for key in ("trials", "startup", "validations"):
        if key in content:
            check_whole(f"{where}: {key}", content[key], 1)
    return Space(**(content | {"pruner": _pruner(f"{where}: pruner", content.get("pruner", "none"))}))


def _check_domain(where: str, domain: Any) -> None:
    if isinstance(domain, dict) and "choices" in domain:
        check_keys(where, domain, ("choices",))
        check_values(f"{where}: choices", domain["choices"])
        return
    check_keys(where, domain, (*RANGE_KEYS, "choices"), required=("low", "high"))
    for key in domain.keys() - {"log"}:
        number = domain[key]
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            hint = " (YAML reads 3e-4 as a text: write 3.0e-4)" if isinstance(number, str) else ""
            raise ValueError(f"{where}: {key} {number!r} is not a number{hint}")
    if not isinstance(domain.get("log", False), bool):
        raise ValueError(f"{where}: log {domain['log']!r} is not true or false")
    if not domain["low"] < domain["high"]:
        raise ValueError(f"{where}: low {domain['low']} must be less than high {domain['high']}")
    try:
        _distribution(domain)
    except ValueError as error:  # Optuna's, such as of a logarithm of zero
        raise ValueError(f"{where}: {' '.join(str(error).split())}") from None


def _distribution(domain: Mapping[str, Any]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in domain:
        return CategoricalDistribution(domain["choices"])
    whole = all(isinstance(domain[key], int) for key in ("low", "high", "step") if key in domain)
    return (IntDistribution if whole else FloatDistribution)(**domain)


def _pruner(where: str, content: Any) -> Mapping[str, Any] | None:
    if content == "none":
        return None
    content = {"name": content} if isinstance(content, str) else content
    if not isinstance(content, dict) or "name" not in content:
        raise ValueError(f"{where} {content!r} is neither a name nor a mapping with a name, such as {{name: median}}")
    try:
        make_pruner(**content)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return content
